//! `keep`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::command::{Running, Service};

#[test]
fn a_kept_peer_is_listed_until_the_command_is_stopped() {
    let service = Service::start(&["--memory", "--ttl-min", "1"]);
    let mut keep = Running::start(&["keep", "alice", "--ttl", "3", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    keep.line_with("alice is renewed until");
    wait_until_listed(&service, "alice");
    keep.signal("TERM");
    keep.line_with("alice is deregistered");
    assert_eq!(keep.wait(), Some(0));
    assert!(!service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_peer_that_another_client_deregistered_is_registered_again() {
    let service = Service::start(&["--memory", "--ttl-min", "1"]);
    let mut keep = Running::start(&["keep", "alice", "--ttl", "3", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    assert_eq!(service.call(&["deregister", "alice"]).code, 0);
    keep.line_with("alice is unknown to the service");
    keep.line_with("alice is registered until");
    wait_until_listed(&service, "alice");
}

/// A lease of a few seconds may end while this machine pauses; the next heartbeat revives it.
fn wait_until_listed(service: &Service, peer: &str) {
    let begun = Instant::now();
    while !service.call(&["discover"]).out.contains(peer) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{peer} is kept registered but never listed");
    }
}

#[test]
fn a_permanently_rejected_registration_ends_the_command() {
    let service = Service::in_memory();
    let output = service.call(&["keep", "alice", "--ttl", "5"]);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("ttl_seconds"), "{}", output.err);
}

#[test]
fn a_second_signal_ends_the_command_without_waiting_for_the_service() {
    const REGISTERED: &str = r#"{"message":"m","peer_id":"alice","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"127.0.0.1","lease_token":"t"}"#;
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", service.local_addr().unwrap());
    let patient = ["keep", "alice", "--timeout", "3600", "--endpoint", &endpoint];
    let mut keep = Running::start(&patient);
    let (mut registering, _) = service.accept().unwrap();
    assert!(registering.read(&mut [0; 4_096]).unwrap() > 0);
    write!(
        registering,
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{REGISTERED}",
        REGISTERED.len()
    )
    .unwrap();
    keep.line_with("alice is registered until");
    keep.signal("INT");
    let (_deregistering, _) = service.accept().unwrap();
    keep.signal("INT");
    assert_eq!(keep.wait(), Some(1));
}
