//! The network's figures over time.

use serde_json::json;

use crate::support::{PATIENCE, Service};

#[tokio::test]
async fn asking_for_changes_breaks_the_silence() {
    let service = Service::start().await;
    for id in ["a", "b"] {
        service.post("/register", &json!({ "peer_id": id, "archetypes": ["x"] }).to_string()).await.ok();
    }
    let begun = std::time::Instant::now();
    let silent = async || {
        let at_risk = service.get("/network").await.ok()["at_risk"].to_string();
        at_risk.contains("No discover was answered")
    };
    while !silent().await {
        assert!(begun.elapsed() < PATIENCE, "silence is told");
        service.clock.pass(60);
        service.post("/heartbeat", r#"{"peer_ids":["a","b"]}"#).await.ok();
        tokio::task::yield_now().await;
    }
    service.get("/discover?since=now").await.ok();
    assert!(!silent().await, "a delta was answered");
}

/// Lets a minute pass. The sweep that starts with the service records the first moment.
async fn first_minute(service: &Service) {
    let begun = std::time::Instant::now();
    service.clock.pass(60);
    while service.get("/network").await.ok().get("minutes").is_none() {
        assert!(begun.elapsed() < PATIENCE, "the first moment is noted");
        service.clock.pass(60);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_dormant_peer_that_deregisters_does_not_leave_again() {
    let service = Service::start().await;
    first_minute(&service).await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["x"],"ttl_seconds":30}"#).await.ok();
    service.clock.pass(60);
    let begun = std::time::Instant::now();
    let seen = async |name: &str| service.get("/network").await.ok().get(name).and_then(|one| one.as_f64());
    while seen("expiries_per_minute").await.is_none_or(|expiries| expiries == 0.0) {
        assert!(begun.elapsed() < PATIENCE, "the end of the lease is counted");
        tokio::task::yield_now().await;
    }
    service.post("/deregister", r#"{"peer_id":"a"}"#).await.ok();
    // Joins are computed from the number of live peers and of those that left.
    assert_eq!(seen("leaves_per_minute").await, Some(0.0));
}

#[tokio::test]
async fn what_comes_and_goes_is_told_by_the_minute_and_to_prometheus_too() {
    let service = Service::start().await;
    first_minute(&service).await;
    for id in ["a", "b", "c", "d"] {
        service.post("/register", &json!({ "peer_id": id, "archetypes": ["x"] }).to_string()).await.ok();
    }
    service.post("/register", r#"{"peer_id":"a","archetypes":["x"]}"#).await.ok();
    service.post("/deregister", r#"{"peer_id":"d"}"#).await.ok();
    let answer = service.get("/network").await.ok();
    assert_eq!(
        (&answer["peers"], &answer["archetypes"]),
        (&json!(3), &json!([{"archetype": "x", "peers": 3}]))
    );
    let minutes = answer["minutes"].as_f64().unwrap();
    let told = |name: &str| answer[name].as_f64().unwrap() * minutes;
    // Rates are averages over at most five minutes, in tenths.
    assert!((told("joins_per_minute") - 4.0).abs() < 0.6, "registering again is no joining: {answer}");
    assert!((told("leaves_per_minute") - 1.0).abs() < 0.6, "{answer}");
    assert_eq!(answer["expiries_per_minute"], 0.0);
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
