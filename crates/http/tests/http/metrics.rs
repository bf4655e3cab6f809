//! The contents of the metrics.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::support::Service;
use crate::support::raw::RawConnection;

async fn metrics(service: &Service) -> String {
    let response = service.client.get(format!("http://{}/metrics", service.metrics)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

#[tokio::test]
async fn requests_of_peers_are_counted() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["pepino"]}"#).await.ok();
    service.post("/register", r#"{"peer_id":"b","archetypes":["pepino"]}"#).await.ok();
    service.post("/heartbeat", r#"{"peer_id":"a"}"#).await.ok();
    service.clock.advance(400);
    service.post("/heartbeat", r#"{"peer_id":"a"}"#).await.ok();
    service.post("/register", r#"{"peer_id":"c"}"#).await.ok();
    service.post("/deregister", r#"{"peer_id":"c"}"#).await.ok();
    service.post("/heartbeat", r#"{"peer_id":"unknown"}"#).await.refused(404, "peer_not_registered", None);
    service.get("/nowhere").await.refused(404, "not_found", None);
    let text = metrics(&service).await;
    for line in [
        "aurora_registrations_total 3",
        "aurora_renewals_total 1",
        "aurora_revivals_total 1",
        "aurora_deregistrations_total 1",
        "aurora_peers_live 1",
        "aurora_peers_dormant 1",
        r#"aurora_archetype_peers{archetype="pepino"} 1"#,
        r#"aurora_refusals_total{code="peer_not_registered"} 1"#,
        r#"aurora_requests_total{route="/heartbeat",status="2xx"} 2"#,
        r#"aurora_requests_total{route="/heartbeat",status="4xx"} 1"#,
        r#"aurora_requests_total{route="other",status="4xx"} 1"#,
        r#"aurora_request_duration_seconds_count{route="/register"} 3"#,
        "aurora_requests_in_flight 0",
        "# EOF",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn each_peer_of_a_heartbeat_for_many_is_counted() {
    let service = Service::start().await;
    for id in ["a", "b", "c"] {
        service.post("/register", &json!({ "peer_id": id }).to_string()).await.ok();
    }
    service.post("/heartbeat", r#"{"peer_ids":["a","b","unknown"]}"#).await.ok();
    service.clock.advance(400);
    service.post("/heartbeat", r#"{"peer_ids":["a","b","c"]}"#).await.ok();
    let text = metrics(&service).await;
    for line in ["aurora_renewals_total 2", "aurora_revivals_total 3"] {
        assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_service_counts_expired_leases_without_requests() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a"}"#).await.ok();
    service.clock.advance(400);
    service.run_background_tasks().await;
    let text = metrics(&service).await;
    assert!(text.contains("\naurora_expiries_total 1\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_scraper_that_sends_nothing_is_disconnected() {
    let service = Service::start().await;
    let mut silent = RawConnection::open(service.metrics).await;
    // The paused clock advances by itself while the system is still transferring data. A timeout of
    // a day leaves enough time for that.
    let closed = timeout(Duration::from_secs(24 * 3_600), silent.0.read(&mut [0])).await;
    assert_eq!(closed.expect("the connection is never closed").unwrap_or(0), 0);
}

#[tokio::test]
async fn every_line_of_the_metrics_can_be_parsed() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["quote\" back\\ slash"]}"#).await.ok();
    let text = metrics(&service).await;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("aurora_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let described = text.lines().filter(|line| line.starts_with("# HELP ")).count();
    assert!(names.len() > 12 && described == names.len(), "{names:?}");
    let with_a_full_stop: Vec<_> =
        text.lines().filter(|line| line.starts_with("# HELP ") && line.ends_with('.')).collect();
    assert_eq!(with_a_full_stop, [""; 0]);
}

#[tokio::test]
async fn the_listener_for_peers_does_not_serve_metrics() {
    let service = Service::start().await;
    service.get("/metrics").await.refused(404, "not_found", None);
}
