//! `keep`.

use crate::command::{Running, Service};

#[test]
fn a_kept_peer_is_listed_until_the_command_is_stopped() {
    let service = Service::start(&["--memory", "--ttl-min", "1"]);
    let mut keep = Running::start(&["keep", "alice", "--ttl", "3", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    keep.line_with("alice is renewed until");
    assert!(service.call(&["discover"]).out.contains("alice"));
    keep.signal("TERM");
    keep.line_with("alice is deregistered");
    assert_eq!(keep.wait(), Some(0));
    assert!(!service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_peer_that_was_deregistered_meanwhile_registers_again() {
    let service = Service::start(&["--memory", "--ttl-min", "1"]);
    let mut keep = Running::start(&["keep", "alice", "--ttl", "3", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    assert_eq!(service.call(&["deregister", "alice"]).code, 0);
    keep.line_with("alice is unknown to the service");
    keep.line_with("alice is registered until");
    assert!(service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_registration_that_the_service_never_takes_ends_the_command() {
    let service = Service::in_memory();
    let ran = service.call(&["keep", "alice", "--ttl", "5"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("ttl_seconds"), "{}", ran.err);
}
