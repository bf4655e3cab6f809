//! The contents of the metrics.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::{sleep, timeout};

use crate::support::raw::Raw;
use crate::support::{PATIENCE, Service};

async fn metrics(service: &Service) -> String {
    let reply = service.client.get(format!("http://{}/metrics", service.metrics)).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.text().await.unwrap()
}

#[tokio::test]
async fn what_peers_do_is_counted() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["pepino"]}"#).await.ok();
    service.post("/register", r#"{"peer_id":"b","archetypes":["pepino"]}"#).await.ok();
    service.post("/heartbeat", r#"{"peer_id":"a"}"#).await.ok();
    service.clock.pass(400);
    service.post("/heartbeat", r#"{"peer_id":"a"}"#).await.ok();
    service.post("/register", r#"{"peer_id":"c"}"#).await.ok();
    service.post("/deregister", r#"{"peer_id":"c"}"#).await.ok();
    service.post("/heartbeat", r#"{"peer_id":"nobody"}"#).await.refused(404, "peer_not_registered", None);
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
async fn heartbeats_for_many_count_as_many() {
    let service = Service::start().await;
    for id in ["a", "b", "c"] {
        service.post("/register", &json!({ "peer_id": id }).to_string()).await.ok();
    }
    service.post("/heartbeat", r#"{"peer_ids":["a","b","nobody"]}"#).await.ok();
    service.clock.pass(400);
    service.post("/heartbeat", r#"{"peer_ids":["a","b","c"]}"#).await.ok();
    let text = metrics(&service).await;
    for line in ["aurora_renewals_total 2", "aurora_revivals_total 3"] {
        assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_lease_that_ends_in_silence_is_counted_by_the_services_own_clock() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a"}"#).await.ok();
    service.clock.pass(400);
    let counted = async {
        while !metrics(&service).await.contains("\naurora_expiries_total 1\n") {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("nobody ends leases");
}

#[tokio::test(start_paused = true)]
async fn a_scraper_that_says_nothing_is_cut_off() {
    let service = Service::start().await;
    let mut silent = Raw::open(service.metrics).await;
    // The paused clock advances by itself while the system is still transferring data. A timeout of
    // a day leaves enough time for that.
    let cut_off = timeout(Duration::from_secs(24 * 3_600), silent.0.read(&mut [0])).await;
    assert_eq!(cut_off.expect("it is never cut off").unwrap_or(0), 0);
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
}

#[tokio::test]
async fn metrics_are_not_told_where_peers_are_served() {
    let service = Service::start().await;
    service.get("/metrics").await.refused(404, "not_found", None);
}
