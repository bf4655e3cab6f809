//! The shutdown of the service.

use tokio::net::TcpStream;

use crate::support::faulty::FaultyStore;
use crate::support::raw::RawConnection;
use crate::support::{Service, TIMEOUT, client};

#[tokio::test]
async fn a_shutdown_finishes_requests_in_flight_and_closes_idle_connections() {
    let mut service = Service::start().await;
    let (mut idle, mut busy) =
        (RawConnection::open(service.address).await, RawConnection::open(service.address).await);
    idle.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.expect(r#"{"status":"healthy"}"#).await;
    let body = r#"{"peer_id":"p"}"#;
    busy.send(&format!(
        "POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    ))
    .await;
    busy.expect("HTTP/1.1 100 Continue\r\n\r\n").await;

    service.stop();
    assert_eq!(idle.until_closed().await, "");
    assert!(TcpStream::connect(service.address).await.is_err(), "no new connection is accepted");
    busy.send(body).await;
    assert!(busy.until_closed().await.starts_with("HTTP/1.1 200"));
    service.stopped().await.unwrap();
    assert!(service.registry.store().health().await.is_err(), "the registry is closed");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cancels_requests_after_the_grace_period() {
    let mut service = Service::with(|options| options.store = FaultyStore::wrap).await;
    let mut raw = RawConnection::open(service.address).await;
    let body = r#"{"peer_id":"stalls"}"#;
    raw.send(&format!("POST /heartbeat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
        .await;
    service.stop();
    service.stopped().await.unwrap();
    assert_eq!(raw.until_closed().await, "");
}

/// A service that has begun to drain, and drains for longer than any test takes.
async fn draining() -> Service {
    let mut service = Service::with(|options| options.server.shutdown_drain = 100 * TIMEOUT).await;
    service.stop();
    while service.get("/readyz").await.status == 200 {}
    service
}

#[tokio::test]
async fn during_a_drain_responses_close_their_connections_and_new_ones_are_accepted() {
    let mut service = Service::with(|options| options.server.shutdown_drain = 100 * TIMEOUT).await;
    let mut kept = RawConnection::open(service.address).await;
    let request = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    kept.send(request).await;
    let before = kept.expect(r#"{"status":"healthy"}"#).await;
    assert!(!before.contains("connection:"), "{before}");
    service.get("/readyz").await.ok();
    service.stop();
    let not_ready = loop {
        let response = service.get("/readyz").await;
        if response.status != 200 {
            break response;
        }
    };
    assert_eq!((not_ready.status.as_u16(), &not_ready.json()["status"]), (503, &"unhealthy".into()));
    kept.send(request).await;
    let after = kept.until_closed().await;
    assert!(after.starts_with("HTTP/1.1 200") && after.contains("connection: close\r\n"), "{after}");
    let mut new = RawConnection::open(service.address).await;
    new.send(request).await;
    assert!(new.until_closed().await.contains("connection: close\r\n"));
    service.get("/health").await.ok();
}

#[tokio::test]
async fn during_a_drain_http_2_connections_get_goaway_and_lose_no_request() {
    let service = draining().await;
    let client = client(reqwest::ClientBuilder::http2_prior_knowledge);
    for _ in 0..20 {
        let response = client.get(service.url("/livez")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        assert!(response.headers().get("connection").is_none(), "HTTP/2 forbids the header");
    }
}
