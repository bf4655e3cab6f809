//! What peers do: register, beat, leave.

use serde_json::json;

use crate::support::Service;
use crate::support::faulty::Faulty;

#[tokio::test]
async fn the_seeds_examples_answer_with_the_seeds_shapes() {
    let service = Service::with(|setting| setting.draw = |_| 0).await;
    let registered = service
        .post(
            "/register",
            r#"{"peer_id": "uuid-or-identifier", "address": "192.168.1.100", "port": 9000,
                "archetypes": ["pepino", "ethics"],
                "metadata": {"version": "1.0.0", "capabilities": ["tensor-exchange"]}}"#,
        )
        .await
        .ok();
    assert_eq!(registered["message"], "Peer registered successfully");
    assert_eq!(registered["peer_id"], "uuid-or-identifier");
    assert_eq!(registered["ttl_expires"], "2025-10-02T12:05:00");
    assert_eq!(registered["ttl_seconds"], 300);
    assert_eq!(registered["heartbeat_interval_seconds"], 100);
    assert_eq!(registered["observed_address"], "127.0.0.1");

    let discovered = service.get("/discover?archetype=pepino").await.ok();
    assert_eq!(
        discovered,
        json!({
            "peers": [{
                "peer_id": "uuid-or-identifier", "address": "192.168.1.100", "port": 9000,
                "archetypes": ["pepino", "ethics"], "last_seen": "2025-10-02T12:00:00",
                "metadata": {"version": "1.0.0", "capabilities": ["tensor-exchange"]},
            }],
            "count": 1, "timestamp": "2025-10-02T12:00:00", "total": 1,
        })
    );

    service.clock.pass(10);
    let beat = service.post("/heartbeat", r#"{"peer_id": "uuid-or-identifier"}"#).await.ok();
    assert_eq!(
        beat,
        json!({
            "message": "Heartbeat updated", "peer_id": "uuid-or-identifier", "timestamp": "2025-10-02T12:00:10",
            "ttl_expires": "2025-10-02T12:05:10", "ttl_seconds": 300, "heartbeat_interval_seconds": 80,
        })
    );

    assert_eq!(service.get("/health").await.ok(), json!({"status": "healthy"}));
}

#[tokio::test]
async fn a_body_is_read_whatever_its_content_type_says() {
    let service = Service::start().await;
    for content_type in ["application/x-www-form-urlencoded", "text/plain", "application/json", "é"] {
        let headers = [("content-type", content_type)];
        service.call(http::Method::POST, "/register", &headers, r#"{"peer_id":"p"}"#).await.ok();
    }
}

#[tokio::test]
async fn an_address_left_out_is_where_the_request_came_from() {
    let service = Service::behind_a_proxy().await;
    for address in ["", r#","address":"""#, r#","address":"0.0.0.0""#, r#","address":null"#] {
        let body = format!(r#"{{"peer_id":"p"{address}}}"#);
        let registered = service.post_from("203.0.113.7", "/register", &body).await.ok();
        assert_eq!(registered["observed_address"], "203.0.113.7");
        assert_eq!(service.get("/discover").await.ok()["peers"][0]["address"], "203.0.113.7");
    }
}

#[tokio::test]
async fn a_heartbeat_never_creates_a_peer() {
    let service = Service::start().await;
    service.post("/heartbeat", r#"{"peer_id":"p"}"#).await.refused(404, "peer_not_registered", None);
    assert!(service.get("/discover").await.ids().is_empty());
}

#[tokio::test]
async fn a_peer_that_slept_is_not_listed_until_its_next_heartbeat() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"laptop"}"#).await.ok();
    service.clock.pass(3_600);
    assert!(service.get("/discover").await.ids().is_empty());
    service.post("/heartbeat", r#"{"peer_id":"laptop"}"#).await.ok();
    assert_eq!(service.get("/discover").await.ids(), ["laptop"]);
}

#[tokio::test]
async fn a_stranger_can_neither_overwrite_nor_deregister_a_live_peer() {
    let service = Service::behind_a_proxy().await;
    let peer = r#"{"peer_id":"p","port":1}"#;
    service.post_from("203.0.113.7", "/register", peer).await.ok();
    for path in ["/register", "/deregister"] {
        let refused = service.post_from("198.51.100.9", path, r#"{"peer_id":"p","port":2}"#).await;
        refused.refused(403, "not_holder", None);
        let error = refused.json()["error"].to_string();
        assert!(error.contains("2025-10-02T12:05:00"), "{error} does not say when the lease ends");
    }
    assert_eq!(service.get("/discover").await.ok()["peers"][0]["port"], 1);
    service.clock.pass(300);
    service.post_from("198.51.100.9", "/register", r#"{"peer_id":"p","port":2}"#).await.ok();
}

#[tokio::test]
async fn the_holder_may_change_it_from_its_address_or_with_its_token() {
    let service = Service::behind_a_proxy().await;
    let registered = service.post_from("203.0.113.7", "/register", r#"{"peer_id":"p"}"#).await.ok();
    let token = registered["lease_token"].as_str().unwrap();
    let moved = format!(r#"{{"peer_id":"p","port":2,"lease_token":"{token}"}}"#);
    let again = service.post_from("198.51.100.9", "/register", &moved).await.ok();
    assert_eq!(again["lease_token"], token);
    let left = service.post_from("198.51.100.9", "/deregister", r#"{"peer_id":"p"}"#).await.ok();
    assert_eq!(left, json!({"message": "Peer deregistered", "peer_id": "p"}));
    service.post("/deregister", r#"{"peer_id":"p"}"#).await.refused(404, "peer_not_registered", None);
}

#[tokio::test]
async fn a_page_rides_along_with_a_heartbeat_or_a_registration() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["x"]}"#).await.ok();
    let registered =
        service.post("/register", r#"{"peer_id":"b","archetypes":["x"],"discover":{"exclude":"b"}}"#).await;
    assert_eq!(registered.ids(), ["a"]);
    assert_eq!(registered.ok()["message"], "Peer registered successfully");
    let beat = service.post("/heartbeat", r#"{"peer_id":"a","discover":{"archetype":"x","limit":5}}"#).await;
    assert_eq!(beat.ids(), ["a", "b"]);
    assert_eq!((&beat.ok()["total"], &beat.ok()["message"]), (&json!(2), &json!("Heartbeat updated")));
}

#[tokio::test]
async fn a_call_whose_page_is_refused_changes_nothing() {
    let service = Service::start().await;
    let body = r#"{"peer_id":"p","discover":{"cursor":"made-up"}}"#;
    service.post("/register", body).await.refused(400, "invalid_cursor", Some("cursor"));
    assert!(service.get("/discover").await.ids().is_empty());
}

#[tokio::test]
async fn metadata_comes_back_as_it_was_written() {
    let service = Service::start().await;
    let metadata = r#"{ "n": 123456789012345678901234567890, "e": 1e999, "s": "\u00e9" }"#;
    service.post("/register", &format!(r#"{{"peer_id":"p","metadata":{metadata}}}"#)).await.ok();
    let url = service.url("/discover");
    let page = service.client.get(url).send().await.unwrap().text().await.unwrap();
    assert!(page.contains(metadata), "{page}");
}

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
async fn heartbeats_for_many_count_as_many() {
    let service = Service::start().await;
    for id in ["a", "b", "c"] {
        service.post("/register", &json!({ "peer_id": id }).to_string()).await.ok();
    }
    service.post("/heartbeat", r#"{"peer_ids":["a","b","nobody"]}"#).await.ok();
    service.clock.pass(400);
    service.post("/heartbeat", r#"{"peer_ids":["a","b","c"]}"#).await.ok();
    let url = format!("http://{}/metrics", service.metrics);
    let text = service.client.get(url).send().await.unwrap().text().await.unwrap();
    for line in ["aurora_renewals_total 2", "aurora_revivals_total 3"] {
        assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
    }
}
