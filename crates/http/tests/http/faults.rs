//! A store that fails.

use serde_json::json;

use crate::support::Service;
use crate::support::faulty::Faulty;

#[tokio::test]
async fn what_the_store_can_not_do_for_one_peer_it_does_for_the_others() {
    let service = Service::with(|setting| setting.store = Faulty::over).await;
    for id in ["a", "b"] {
        service.post("/register", &json!({ "peer_id": id }).to_string()).await.ok();
    }
    let reply = service.post("/heartbeat", r#"{"peer_ids":["a","breaks","b","nobody"]}"#).await;
    let answer = reply.ok();
    assert_eq!(answer["renewed"], 2);
    let codes: Vec<_> = (0..4).map(|n| answer["results"][n]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("internal"), None, Some("peer_not_registered")]);
    assert!(!reply.body.windows(6).any(|text| text == b"secret"), "{reply:?}");
}

#[tokio::test]
async fn where_the_store_answers_for_no_peer_the_whole_call_fails() {
    let service = Service::with(|setting| setting.store = Faulty::over).await;
    service.post("/heartbeat", r#"{"peer_ids":["breaks"]}"#).await.refused(500, "internal", None);
    let some = service.post("/heartbeat", r#"{"peer_ids":["breaks","nobody"]}"#).await.ok();
    assert_eq!(some["renewed"], 0);
}

#[tokio::test]
async fn a_store_that_cannot_keep_anything_is_unavailable_and_unhealthy() {
    let service = Service::start().await;
    service.registry.store().close().await.unwrap();
    let refused = service.post("/register", r#"{"peer_id":"p"}"#).await;
    refused.refused(503, "unavailable", None);
    assert!(refused.header("retry-after").is_some());
    let health = service.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &"unhealthy".into()));
    assert!(health.header("retry-after").is_some());
}

#[tokio::test]
async fn what_breaks_inside_tells_the_caller_nothing_but_a_request_id() {
    let service = Service::with(|setting| setting.store = Faulty::over).await;
    for fault in ["breaks", "panics"] {
        let reply = service.post("/heartbeat", &format!(r#"{{"peer_id":"{fault}"}}"#)).await;
        reply.refused(500, "internal", None);
        assert_eq!(reply.json()["error"], "Internal server error");
        assert!(!reply.header("x-request-id").unwrap().is_empty());
    }
    assert_eq!(service.get("/health").await.status, 200, "one request's bug ends nothing else");
}
