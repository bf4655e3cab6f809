//! The shutdown of the service.

use tokio::net::TcpStream;

use crate::support::Service;
use crate::support::faulty::Faulty;
use crate::support::raw::Raw;

#[tokio::test]
async fn a_request_in_flight_is_finished_and_an_idle_connection_closed() {
    let mut service = Service::start().await;
    let (mut idle, mut busy) = (Raw::open(service.address).await, Raw::open(service.address).await);
    idle.send("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    idle.expect(r#"{"status":"healthy"}"#).await;
    let body = r#"{"peer_id":"p"}"#;
    busy.send(&format!(
        "POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    ))
    .await;
    busy.expect("HTTP/1.1 100 Continue\r\n\r\n").await;

    service.tell_to_stop();
    assert_eq!(idle.until_closed().await, "");
    assert!(TcpStream::connect(service.address).await.is_err(), "nothing new is accepted");
    busy.send(body).await;
    assert!(busy.until_closed().await.starts_with("HTTP/1.1 200"));
    service.stopped().await.unwrap();
    assert!(service.registry.store().health().await.is_err(), "the registry is closed");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_outlasts_the_grace_is_cut_off() {
    let mut service = Service::with(|setting| setting.store = Faulty::over).await;
    let mut raw = Raw::open(service.address).await;
    let body = r#"{"peer_id":"stalls"}"#;
    raw.send(&format!("POST /heartbeat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
        .await;
    service.tell_to_stop();
    service.stopped().await.unwrap();
    assert_eq!(raw.until_closed().await, "");
}
