//! Responses while the store fails.

use serde_json::json;

use crate::support::Service;
use crate::support::faulty::FaultyStore;

#[tokio::test]
async fn a_store_failure_for_one_peer_does_not_affect_the_others() {
    let service = Service::with(|options| options.store = FaultyStore::wrap).await;
    for id in ["a", "b"] {
        service.post("/register", &json!({ "peer_id": id }).to_string()).await.ok();
    }
    let response = service.post("/heartbeat", r#"{"peer_ids":["a","breaks","b","unknown"]}"#).await;
    let fields = response.ok();
    assert_eq!(fields["renewed"], 2);
    let codes: Vec<_> = (0..4).map(|n| fields["results"][n]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("internal"), None, Some("peer_not_registered")]);
    assert!(!response.body.windows(6).any(|text| text == b"secret"), "{response:?}");
}

#[tokio::test]
async fn a_heartbeat_fails_as_a_whole_if_the_store_fails_for_every_peer() {
    let service = Service::with(|options| options.store = FaultyStore::wrap).await;
    service.post("/heartbeat", r#"{"peer_ids":["breaks"]}"#).await.refused(500, "internal", None);
    let some = service.post("/heartbeat", r#"{"peer_ids":["breaks","unknown"]}"#).await.ok();
    assert_eq!(some["renewed"], 0);
}

#[tokio::test]
async fn a_closed_store_makes_the_service_unavailable_and_unhealthy() {
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
async fn an_internal_error_reveals_only_a_request_id() {
    let service = Service::with(|options| options.store = FaultyStore::wrap).await;
    for fault in ["breaks", "panics"] {
        let response = service.post("/heartbeat", &format!(r#"{{"peer_id":"{fault}"}}"#)).await;
        response.refused(500, "internal", None);
        assert_eq!(response.json()["error"], "Internal server error");
        assert!(!response.header("x-request-id").unwrap().is_empty());
    }
    assert_eq!(service.get("/health").await.status, 200, "a panic in one request affects no other");
}
