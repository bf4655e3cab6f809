//! The shutdown of the service.

use tokio::net::TcpStream;

use crate::support::Service;
use crate::support::faulty::FaultyStore;
use crate::support::raw::RawConnection;

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
