//! How the figures of `GET /network` change over time.

use serde_json::{Value, json};

use crate::support::Service;

/// A service whose figures cover one minute, in which nothing happened.
async fn service_after_a_minute() -> Service {
    let service = Service::start().await;
    // The first sweep records the start of the history.
    service.run_background_tasks().await;
    service.clock.advance(60);
    service
}

async fn network(service: &Service) -> Value {
    service.get("/network").await.ok()
}

#[tokio::test]
async fn a_request_for_changes_clears_the_risk_that_no_client_requests_peers() {
    let service = service_after_a_minute().await;
    for id in ["a", "b"] {
        service.post("/register", &json!({ "peer_id": id, "archetypes": ["x"] }).to_string()).await.ok();
    }
    let silent = async || network(&service).await["at_risk"].to_string().contains("no client has requested");
    service.clock.advance(60);
    assert!(!silent().await, "the silence is reported after three minutes");
    service.clock.advance(60);
    assert!(silent().await, "the silence is not reported");
    service.get("/discover?since=now").await.ok();
    assert!(!silent().await, "a delta was returned");
}

#[tokio::test]
async fn requests_of_observers_change_no_figure() {
    let service = service_after_a_minute().await;
    for id in ["a", "b"] {
        service.post("/register", &json!({ "peer_id": id }).to_string()).await.ok();
    }
    // Peers count as discovered for one lease after their registration.
    for _ in 0..2 {
        service.clock.advance(200);
        service.post("/heartbeat", r#"{"peer_ids":["a","b"]}"#).await.ok();
    }
    for path in ["/discover", "/discover?order=all", "/discover?since=now"] {
        let separator = if path.contains('?') { '&' } else { '?' };
        service.get(&format!("{path}{separator}view=observer")).await.ok();
    }
    service.post("/heartbeat", r#"{"peer_id":"a","discover":{"view":"observer"}}"#).await.ok();
    let first = service.get("/discover?order=all&limit=1&view=observer").await.json();
    assert!(first["next_cursor"].is_string(), "{first}");
    let rest = json!({ "view": "observer", "cursor": first["next_cursor"] });
    service.post("/heartbeat", &json!({ "peer_id": "a", "discover": rest }).to_string()).await.ok();
    let stream = service.client.get(service.url("/watch?view=observer")).send().await.unwrap();
    assert!(stream.status().is_success());
    let figures = network(&service).await;
    assert_eq!(figures["undiscovered_ratio"], 1.0, "{figures}");
    assert!(figures["at_risk"].to_string().contains("no client has requested"), "{figures}");
    drop(stream);

    service.get("/discover?view=full").await.ok();
    let figures = network(&service).await;
    assert_eq!(figures["undiscovered_ratio"], 0.0, "{figures}");
    assert!(!figures["at_risk"].to_string().contains("no client has requested"), "{figures}");
}

#[tokio::test]
async fn a_dormant_peer_that_deregisters_does_not_count_as_leaving_again() {
    let service = service_after_a_minute().await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["x"],"ttl_seconds":30}"#).await.ok();
    service.clock.advance(60);
    service.run_background_tasks().await;
    assert_eq!(network(&service).await["expiries_per_minute"], 0.5);
    service.post("/deregister", r#"{"peer_id":"a"}"#).await.ok();
    // The peer has left the network once, when its lease ended. The service computes the joins from
    // the number of live peers and the number of peers that left. If the deregistration counted as
    // leaving too, the service would also compute a second join.
    let fields = network(&service).await;
    assert_eq!((&fields["leaves_per_minute"], &fields["joins_per_minute"]), (&json!(0.0), &json!(0.5)));
}

#[tokio::test]
async fn joins_and_leaves_are_reported_per_minute_and_as_metrics() {
    let service = service_after_a_minute().await;
    for id in ["a", "b", "c", "d"] {
        service.post("/register", &json!({ "peer_id": id, "archetypes": ["x"] }).to_string()).await.ok();
    }
    service.post("/register", r#"{"peer_id":"a","archetypes":["x"]}"#).await.ok();
    service.post("/deregister", r#"{"peer_id":"d"}"#).await.ok();
    let fields = network(&service).await;
    assert_eq!(
        (&fields["peers"], &fields["archetypes"]),
        (&json!(3), &json!([{"archetype": "x", "peers": 3}]))
    );
    assert_eq!(fields["minutes"], 1);
    assert_eq!(fields["joins_per_minute"], 4.0, "registering again does not count as joining: {fields}");
    assert_eq!(fields["leaves_per_minute"], 1.0, "{fields}");
    assert_eq!(fields["expiries_per_minute"], 0.0);
    let url = format!("http://{}/metrics", service.metrics);
    let text = service.client.get(url).send().await.unwrap().text().await.unwrap();
    for name in
        ["aurora_joins_per_minute", "aurora_leaves_per_minute", "aurora_network_risks", "aurora_pages_total"]
    {
        assert!(
            text.lines().any(|line| line.starts_with(&format!("{name} "))),
            "{name} is missing in\n{text}"
        );
    }
}
