//! The contents of the metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
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
        r#"aurora_refusals_total{code="peer_not_registered"} 1"#,
        r#"aurora_requests_total{route="/heartbeat",status="2xx"} 2"#,
        r#"aurora_requests_total{route="/heartbeat",status="4xx"} 1"#,
        r#"aurora_requests_total{route="other",status="4xx"} 1"#,
        "aurora_healthy 1",
        concat!("aurora_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        r#"aurora_request_duration_seconds_count{route="/register"} 3"#,
        "aurora_requests_in_flight 0",
    ] {
        assert!(text.lines().any(|written| written == line), "{line} is missing in\n{text}");
    }
}

/// The archetypes that have a time series in the metrics, with their numbers of peers.
fn archetype_series(text: &str) -> Vec<(&str, &str)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("aurora_archetype_peers{archetype=\""));
    lines.map(|line| line.split_once("\"} ").unwrap()).collect()
}

/// Lets a minute pass in which these peers register again, and returns the metrics. Each peer is an
/// address, an id and archetypes.
async fn minute(service: &Service, peers: &[(&str, &str, Value)]) -> String {
    service.clock.advance(60);
    for (address, id, archetypes) in peers {
        let peer = json!({"peer_id": id, "archetypes": archetypes});
        service.client_at(*address).post("/register", &peer).await.ok();
    }
    // Otherwise the service would also report the risk that no client requests peers.
    service.get("/discover").await.ok();
    metrics(service).await
}

#[tokio::test]
async fn only_archetypes_that_several_sources_use_for_some_time_have_series_and_risks() {
    let service = Service::behind_a_proxy().await;
    let (alice, bob) = ("203.0.113.7", "198.51.100.1");
    for round in 0..60 {
        let renamed = json!([format!("renamed-{round}"), format!("again-{}", round / 10)]);
        let text = minute(
            &service,
            &[
                (alice, "a", json!(["pepino"])),
                (bob, "b", json!(["pepino"])),
                // These archetypes get no series. Those of `c` and `d` come from two sources, but
                // change too often. `lonely` has two peers, but both are of one source.
                (alice, "c", renamed.clone()),
                (bob, "d", renamed),
                (alice, "e", json!(["lonely"])),
                (alice, "f", json!(["lonely"])),
            ],
        )
        .await;
        let expected: &[_] = if round < 15 { &[] } else { &[("pepino", "2")] };
        assert_eq!(archetype_series(&text), expected, "in minute {round}");
        assert!(text.contains("\naurora_network_risks 0"), "{text}");
    }
    service.client_at(bob).deregister("b").await.ok();
    service.client_at(alice).deregister("f").await.ok();
    let text = metrics(&service).await;
    assert_eq!(archetype_series(&text), [("pepino", "1")]);
    assert_eq!(
        service.get("/network").await.ok()["at_risk"],
        json!(["archetype `pepino` has 1 peer: use fill=any"])
    );
    assert!(text.contains("\naurora_network_risks 1"), "{text}");
    // The series of an archetype without peers remains for a day.
    service.client_at(alice).deregister("a").await.ok();
    assert_eq!(archetype_series(&metrics(&service).await), [("pepino", "0")]);
    service.clock.advance(24 * 3_600 - 1);
    assert_eq!(archetype_series(&metrics(&service).await), [("pepino", "0")]);
    service.clock.advance(1);
    assert_eq!(archetype_series(&metrics(&service).await), []);
}

#[tokio::test]
async fn at_most_fifty_archetypes_have_series_and_they_stay_the_same() {
    let service = Service::behind_a_proxy().await;
    let names = |from: u32| json!((from..from + 30).map(|n| format!("n{n}")).collect::<Vec<_>>());
    let mut first = Vec::new();
    for round in 0..40 {
        let mut peers = Vec::new();
        for address in ["203.0.113.7", "198.51.100.1"] {
            peers.push((address, if address.starts_with('2') { "a" } else { "b" }, names(0)));
            peers.push((address, if address.starts_with('2') { "c" } else { "d" }, names(30)));
            // From round 20 on, thirty further archetypes have twice as many peers as the first
            // sixty. By then, fifty of the first ones already have series.
            for (n, id) in ["x1", "x2"].into_iter().enumerate().filter(|_| round >= 20) {
                let id = if address.starts_with('2') { id } else { ["y1", "y2"][n] };
                peers.push((address, id, names(100)));
            }
        }
        let text = minute(&service, &peers).await;
        let series: Vec<_> = archetype_series(&text).into_iter().map(|(name, _)| name.to_owned()).collect();
        match round {
            0..15 => assert_eq!(series.len(), 0),
            15 => first = series,
            _ => assert_eq!(series, first),
        }
    }
    assert_eq!(first.len(), 50);
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
    // Tokio's paused clock jumps to the next timer whenever all tasks are idle, even if the kernel
    // still has to deliver data. The timeout is a day, so that many other timers fire before it.
    let closed = timeout(Duration::from_secs(24 * 3_600), silent.0.read(&mut [0])).await;
    assert_eq!(closed.expect("the connection is never closed").unwrap_or(0), 0);
}

#[tokio::test]
async fn each_metric_is_described_once_before_its_samples() {
    let service = Service::start().await;
    service.post("/register", r#"{"peer_id":"a","archetypes":["quote\" back\\ slash"]}"#).await.ok();
    let text = metrics(&service).await;
    let (mut described, mut current) = (BTreeSet::new(), "");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            current = rest.split_once(' ').unwrap().0;
            assert!(described.insert(current), "{current} is described twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(name == current && matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().unwrap();
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix).filter(|stem| *stem == current))
                .unwrap_or(name);
            assert_eq!(name, current, "{line}");
            assert!(name.starts_with("aurora_") || name.starts_with("process_"), "{line}");
        }
    }
    let with_a_full_stop: Vec<_> =
        text.lines().filter(|line| line.starts_with("# HELP ") && line.ends_with('.')).collect();
    assert_eq!(with_a_full_stop, [""; 0]);
    assert!(described.len() > 20, "{described:?}");
}

#[tokio::test]
async fn the_format_is_openmetrics_only_for_scrapers_that_accept_it() {
    let service = Service::start().await;
    let url = format!("http://{}/metrics", service.metrics);
    let scrape = |accept: &'static str| service.client.get(&url).header("accept", accept).send();
    let classic = scrape("text/plain;version=0.0.4, */*;q=0.1").await.unwrap();
    assert_eq!(classic.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let classic = classic.text().await.unwrap();
    assert!(classic.contains("# TYPE aurora_registrations_total counter\n") && !classic.contains("# EOF"));
    let open = scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await.unwrap();
    assert!(open.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let open = open.text().await.unwrap();
    assert!(open.contains("# TYPE aurora_registrations counter\n") && open.ends_with("# EOF\n"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_is_measured_under_the_usual_names() {
    let service = Service::start().await;
    let text = metrics(&service).await;
    let value = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} is missing")).parse::<f64>().unwrap()
    };
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
    assert!((1.0..=value("process_max_fds")).contains(&value("process_open_fds")));
    assert!(value("process_start_time_seconds") > 1.7e9);
}

#[tokio::test]
async fn the_listener_for_peers_does_not_serve_metrics() {
    let service = Service::start().await;
    service.get("/metrics").await.refused(404, "not_found", None);
}
