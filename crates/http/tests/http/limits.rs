//! Limits of the service and of the server. The timeouts of connections are tested in
//! `src/connection/tests.rs`.

use std::sync::Arc;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{DiscoveryService, Origin, ServiceOptions};
use aurora_discovery_registry::{Limits, Registry};
use axum::body::Body;
use axum::response::Response;
use futures_util::future::join_all;
use http::Request;
use http_body_util::BodyExt as _;

use crate::support::faulty::FaultyStore;
use crate::support::raw::RawConnection;
use crate::support::{Service, TIMEOUT, client};

/// A service that handles at most `max_in_flight` requests at a time. Its store stalls on
/// heartbeats of the peer `stalls`.
fn stalling(max_in_flight: usize) -> DiscoveryService {
    let limits = Limits::default();
    let store = FaultyStore::wrap(EmbeddedStore::in_memory(limits.clone()));
    let mut options = ServiceOptions::default();
    options.max_in_flight = max_in_flight;
    DiscoveryService::new(Arc::new(Registry::new(store, limits).unwrap()), options)
}

/// The response to a heartbeat, and its body.
async fn heartbeat(service: &DiscoveryService, peer: &str) -> (Response, String) {
    let body = Body::from(format!(r#"{{"peer_id":"{peer}"}}"#));
    let response = service.respond(Request::post("/heartbeat").body(body).unwrap(), Origin::default()).await;
    let (parts, body) = response.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, Body::empty()), String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_gets_503() {
    let (response, body) = heartbeat(&stalling(1), "stalls").await;
    assert!(response.status() == 503 && body.contains("too long"), "{body}");
    assert!(["1", "2"].contains(&response.headers()["retry-after"].to_str().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn requests_over_the_limit_get_503_until_others_finish() {
    let service = stalling(2);
    let stalled = join_all((0..8).map(|_| heartbeat(&service, "stalls"))).await;
    assert!(stalled.iter().all(|(response, _)| response.status() == 503), "{stalled:?}");
    let shed = stalled.iter().filter(|(_, body)| body.contains("in flight")).count();
    let late = stalled.iter().filter(|(_, body)| body.contains("too long")).count();
    assert_eq!((shed, late), (6, 2), "{stalled:?}");
    assert_eq!(heartbeat(&service, "p").await.0.status(), 404);
}

#[tokio::test]
async fn during_overload_the_process_is_alive_but_neither_healthy_nor_ready() {
    for (path, status) in [("/livez", 200), ("/livez/", 200), ("/health", 503), ("/readyz", 503)] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = stalling(0).respond(request, Origin::default()).await;
        assert_eq!(response.status(), status, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_request_over_the_limit_gets_no_body() {
    let service = stalling(1);
    let head = async {
        let response =
            service.respond(Request::head("/discover").body(Body::empty()).unwrap(), Origin::default()).await;
        let (parts, body) = response.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    let (_, (parts, body)) = tokio::join!(heartbeat(&service, "stalls"), head);
    assert_eq!((parts.status.as_u16(), body.len()), (503, 0));
    assert!(parts.headers.contains_key("retry-after"));
    let length: usize = parts.headers["content-length"].to_str().unwrap().parse().unwrap();
    assert!(length > 0, "the length is that of a GET");
}

#[tokio::test]
async fn connections_over_the_limit_get_503_with_retry_after() {
    let service = Service::with(|options| options.server.max_connections = 2).await;
    let health = service.url("/health");
    let mut held = [client(|builder| builder), client(|builder| builder)];
    for client in &held {
        assert_eq!(client.get(&health).send().await.unwrap().status(), 200);
    }
    // The service sends this response and closes the connection without waiting for a request.
    let refused = RawConnection::open(service.address).await.until_closed().await;
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    for line in
        ["retry-after: 1", "connection: close", "access-control-allow-origin: *", "cache-control: no-store"]
    {
        assert!(refused.contains(&format!("\r\n{line}\r\n")), "{line} is missing in {refused}");
    }
    assert!(refused.contains("x-request-id: ") && refused.contains(r#""code":"unavailable""#), "{refused}");
    held[0] = client(|builder| builder);
    let admitted = async {
        while !matches!(held[0].get(&health).send().await, Ok(response) if response.status() == 200) {}
    };
    tokio::time::timeout(TIMEOUT, admitted).await.expect("a closed connection does not free its permit");
}
