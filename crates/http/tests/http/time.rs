//! The times in responses are those of the system's clock, while leases depend on a clock that may
//! fall behind it.

use serde_json::{Value, json};

use crate::support::Service;

/// How far the system's clock is ahead of the clock of the leases: one hour.
const OFFSET_MILLIS: i64 = 3_600_000;

#[tokio::test]
async fn every_time_in_a_response_is_the_systems_time() {
    let service = Service::behind_a_proxy().await;
    service.registry.set_time_offset(OFFSET_MILLIS);
    let host = service.client_at("203.0.113.7");
    let body = json!({"peer_id": "p", "archetypes": ["a"], "discover": {}});
    let registered = host.post("/register", &body).await.ok();
    assert_eq!(registered["ttl_expires"], "2025-10-02T13:05:00");
    assert_eq!(registered["peers"][0]["last_seen"], "2025-10-02T13:00:00");
    for body in [json!({"peer_id": "p"}), json!({"peer_ids": ["p"]})] {
        let beat = host.post("/heartbeat", &body).await.ok();
        assert_eq!(beat["timestamp"], "2025-10-02T13:00:00");
        let lease = beat.get("results").map_or(&beat, |results| &results[0]);
        assert_eq!(lease["ttl_expires"], "2025-10-02T13:05:00");
    }
    let page = service.get("/discover").await.ok();
    assert_eq!((&page["timestamp"], &page["peers"][0]["last_seen"]), (&one_oclock(), &one_oclock()));
    assert_eq!(service.get("/network").await.ok()["timestamp"], one_oclock());
    assert_eq!(service.get("/discover?since=now").await.ok()["timestamp"], one_oclock());
    let refused = service.client_at("198.51.100.1").register("p").await;
    refused.refused(403, "not_holder", None);
    assert!(refused.json()["error"].as_str().unwrap().contains("2025-10-02T13:05:00"), "{refused:?}");
}

fn one_oclock() -> Value {
    json!("2025-10-02T13:00:00")
}
