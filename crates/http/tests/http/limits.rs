//! Clients that are slow, many, or greedy.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::sleep;

use crate::support::faulty::Faulty;
use crate::support::raw::Raw;
use crate::support::{PATIENCE, Service};

const SHORT: Duration = Duration::from_millis(200);

/// Sends a byte now and then until the connection is gone, which it must be before all are sent.
async fn drip(raw: &mut Raw, text: &str) -> bool {
    for byte in text.as_bytes() {
        sleep(SHORT / 4).await;
        if tokio::io::AsyncWriteExt::write_all(&mut raw.0, &[*byte]).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off() {
    let service = Service::with(|setting| setting.options.header_timeout = SHORT).await;
    let mut raw = Raw::open(service.address).await;
    assert!(drip(&mut raw, &format!("GET /health HTTP/1.1\r\nhost: x\r\nx: {}", "x".repeat(400))).await);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_cut_off() {
    let service = Service::with(|setting| setting.options.header_timeout = SHORT).await;
    assert_eq!(Raw::open(service.address).await.until_closed().await, "");
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_cut_off() {
    let service = Service::with(|setting| setting.options.body_timeout = SHORT).await;
    let mut raw = Raw::open(service.address).await;
    raw.send("POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await;
    assert!(drip(&mut raw, &" ".repeat(400)).await);
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let service = Service::with(|setting| setting.options.idle_timeout = SHORT).await;
    let mut raw = Raw::open(service.address).await;
    raw.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw.until_closed().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_second_head_is_bounded_as_the_first() {
    let service = Service::with(|setting| setting.options.header_timeout = SHORT).await;
    let mut raw = Raw::open(service.address).await;
    raw.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
    sleep(SHORT * 2).await;
    raw.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(raw.answer().await.starts_with("HTTP/1.1 200"), "an idle connection is no slow head");
    raw.send("GET /hea").await;
    assert_eq!(raw.until_closed().await, "");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let service = Service::with(|setting| setting.options.write_timeout = SHORT).await;
    let mut raw = Raw::open(service.address).await;
    // Requests whose answers nobody reads fill every buffer on the way.
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    let cut_off =
        async { while tokio::io::AsyncWriteExt::write_all(&mut raw.0, requests.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, cut_off).await.expect("it is never cut off");
}

#[tokio::test]
async fn connections_over_the_bound_are_told_to_come_again() {
    let service = Service::with(|setting| setting.options.max_connections = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::open(service.address).await;
        raw.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(raw.answer().await.starts_with("HTTP/1.1 200"));
        held.push(raw);
    }
    let mut over = Raw::open(service.address).await;
    over.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let answer = over.until_closed().await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    for line in
        ["retry-after: 1", "connection: close", "access-control-allow-origin: *", "cache-control: no-store"]
    {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {answer}");
    }
    assert!(answer.contains("x-request-id: ") && answer.contains(r#""code":"unavailable""#), "{answer}");
    drop(held.pop());
    let begun = Instant::now();
    while service.client.get(service.url("/health")).send().await.unwrap().status() == 503 {
        assert!(begun.elapsed() < PATIENCE, "the place that became free is never given");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_becomes_a_503() {
    let service = Service::with(|setting| {
        setting.store = Faulty::over;
        setting.options.service.request_timeout = SHORT;
    })
    .await;
    let reply = service.post("/heartbeat", r#"{"peer_id":"stalls"}"#).await;
    reply.refused(503, "unavailable", None);
    assert!(["1", "2"].contains(&reply.header("retry-after").unwrap()));
}

#[tokio::test]
async fn requests_over_the_bound_are_shed() {
    let service = Service::with(|setting| {
        setting.store = Faulty::over;
        setting.options.service.request_timeout = SHORT;
        setting.options.service.max_in_flight = 1;
    })
    .await;
    let stalled = (0..8).map(|_| service.post("/heartbeat", r#"{"peer_id":"stalls"}"#));
    let errors: Vec<_> =
        join_all(stalled).await.iter().map(|reply| reply.json()["error"].to_string()).collect();
    let shed = errors.iter().filter(|error| error.contains("in flight")).count();
    let late = errors.iter().filter(|error| error.contains("too long")).count();
    assert_eq!(shed + late, 8, "{errors:?}");
    assert!(shed >= 1 && late >= 1, "{errors:?}");
    service.post("/heartbeat", r#"{"peer_id":"p"}"#).await.refused(404, "peer_not_registered", None);
}
