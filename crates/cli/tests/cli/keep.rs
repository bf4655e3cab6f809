//! `keep`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use crate::command::{Running, Service, command};

/// A service that requests a heartbeat every second. The leases are so long that none ends while a
/// busy machine delays a heartbeat.
fn with_frequent_heartbeats() -> Service {
    Service::start(&["--memory", "--heartbeat-interval-min", "1", "--heartbeat-interval-max", "1"])
}

#[test]
fn a_kept_peer_is_listed_until_the_command_is_stopped() {
    let service = with_frequent_heartbeats();
    let mut keep = Running::start(&["keep", "alice", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    keep.line_with("alice is renewed until");
    assert!(service.call(&["discover"]).out.contains("alice"));
    keep.signal("TERM");
    keep.line_with("alice is deregistered");
    assert_eq!(keep.wait(), Some(0));
    assert!(!service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_peer_that_another_client_deregistered_is_registered_again() {
    let service = with_frequent_heartbeats();
    let mut keep = Running::start(&["keep", "alice", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    assert_eq!(service.call(&["deregister", "alice"]).code, 0);
    keep.line_with("alice is unknown to the service");
    keep.line_with("alice is registered until");
    assert!(service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_permanently_rejected_registration_ends_the_command() {
    let service = Service::in_memory();
    let output = service.call(&["keep", "alice", "--ttl", "5"]);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("ttl_seconds"), "{}", output.err);
}

/// A service that registers `alice` and then stops responding, but still accepts connections.
fn registered_at_a_service_that_hangs(arguments: &[&str]) -> (TcpListener, Running) {
    const UNKNOWN: &str = r#"{"error":"no such peer is registered here","code":"peer_not_registered"}"#;
    const REGISTERED: &str = r#"{"message":"m","peer_id":"alice","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"127.0.0.1","lease_token":"t"}"#;
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", service.local_addr().unwrap());
    let patient = ["keep", "alice", "--timeout", "3600", "--endpoint", &endpoint];
    let mut keep = Running::start(&[&patient, arguments].concat());
    for (path, status, body) in [("heartbeat", "404 Not Found", UNKNOWN), ("register", "200 OK", REGISTERED)]
    {
        let (mut stream, _) = service.accept().unwrap();
        let mut request = [0; 4_096];
        let length = stream.read(&mut request).unwrap();
        assert!(request[..length].starts_with(format!("POST /{path} ").as_bytes()));
        let head =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + body).as_bytes()).unwrap();
    }
    keep.line_with("alice is registered until");
    (service, keep)
}

#[test]
fn a_second_signal_ends_the_command_without_waiting_for_the_service() {
    let (service, mut keep) = registered_at_a_service_that_hangs(&["--shutdown-grace", "3600"]);
    keep.signal("INT");
    let (_deregistering, _) = service.accept().unwrap();
    keep.signal("INT");
    assert_eq!(keep.wait(), Some(1));
}

#[test]
fn a_service_that_does_not_respond_holds_up_the_end_of_the_command_only_for_the_grace() {
    let (_service, mut keep) = registered_at_a_service_that_hangs(&["--shutdown-grace", "1"]);
    keep.signal("TERM");
    assert_eq!(keep.wait(), Some(1));
}

#[test]
fn a_hangup_deregisters_the_peer() {
    let service = Service::in_memory();
    let mut keep = Running::start(&["keep", "alice", "--endpoint", &service.endpoint]);
    keep.line_with("alice is registered until");
    keep.signal("HUP");
    keep.line_with("alice is deregistered");
    assert_eq!(keep.wait(), Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_hangup_is_ignored_under_nohup() {
    let service = with_frequent_heartbeats();
    let arguments = ["keep", "alice", "--endpoint", &service.endpoint];
    let mut keep = Running::start_without_hangups(&arguments);
    keep.line_with("alice is registered until");
    keep.signal("HUP");
    keep.line_with("alice is renewed until");
    keep.line_with("alice is renewed until");
}

#[test]
fn the_lease_token_is_printed_only_on_request() {
    let service = Service::in_memory();
    let mut keep = Running::start(&["keep", "alice", "--endpoint", &service.endpoint]);
    assert!(!keep.line_with("alice is registered until").contains("token"));
    let mut keep = Running::start(&["keep", "bob", "--show-token", "--endpoint", &service.endpoint]);
    assert!(keep.line_with("bob is registered until").contains("; lease token "));
}

#[test]
fn a_live_id_is_taken_over_only_on_request_and_both_commands_say_so() {
    let service = with_frequent_heartbeats();
    let arguments = ["keep", "alice", "--endpoint", &service.endpoint];
    let mut first = Running::start(&arguments);
    first.line_with("alice is registered until");
    let mut waiting = Running::start(&arguments);
    assert!(waiting.line().contains("alice is held by another client"));
    waiting.signal("TERM");
    assert_eq!(waiting.wait(), Some(0));
    first.line_with("alice is renewed until");

    let mut second = Running::start(&[&arguments[..], &["--replace"]].concat());
    assert!(second.line().ends_with("replacing its registration"));
    second.line_with("alice is registered until");
    first.line_with("alice was taken over by another client");
    first.signal("TERM");
    assert_eq!(first.wait(), Some(0));
    second.line_with("alice is renewed until");
    assert_eq!(service.call(&["heartbeat", "alice"]).code, 0);
}

#[test]
fn a_command_that_has_not_noticed_yet_that_it_was_replaced_does_not_deregister_the_peer() {
    let service = Service::in_memory();
    let arguments = ["keep", "alice", "--endpoint", &service.endpoint];
    let mut first = Running::start(&arguments);
    first.line_with("alice is registered until");
    let mut second = Running::start(&[&arguments[..], &["--replace"]].concat());
    second.line_with("alice is registered until");
    first.signal("TERM");
    first.line_with("alice was taken over by another client");
    assert_eq!(first.wait(), Some(0));
    assert!(service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_token_file_lets_a_restarted_peer_register_at_once_and_keeps_others_out() {
    let service = Service::in_memory();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alice.token");
    let file = ["--token-file", path.to_str().unwrap()];
    let arguments = [&["keep", "alice", "--endpoint", &service.endpoint], &file[..]].concat();
    let mut keep = Running::start(&arguments);
    keep.line_with("alice can be changed only with the token in");
    drop(keep); // killed
    let mut keep = Running::start(&arguments);
    assert!(keep.line().contains("alice is registered until"));
    keep.line_with("alice can be changed only with the token in");
    for subcommand in ["heartbeat", "deregister"] {
        let refused = service.call(&[subcommand, "alice"]);
        assert!(refused.code == 1 && refused.err.contains("not_holder"), "{}", refused.err);
    }
    for subcommand in ["heartbeat", "deregister"] {
        assert_eq!(service.call(&[&[subcommand, "alice"], &file[..]].concat()).code, 0);
    }
}

#[test]
fn a_token_file_that_cannot_be_used_is_an_error_with_its_path() {
    let missing = ["keep", "alice", "--token-file", "no/such/directory/token"];
    let output = crate::command::run(&missing);
    assert_eq!(output.code, 1);
    assert!(
        output.err.contains("the token file no/such/directory/token cannot be written"),
        "{}",
        output.err
    );
    let output = crate::command::run(&["heartbeat", "alice", "--token-file", "no/such/token"]);
    assert!(
        output.code == 2 && output.err.contains("--token-file no/such/token does not exist"),
        "{}",
        output.err
    );
}

/// Starts `keep alice` with a script of the shell as its program.
fn keep_with(service: &Service, script: &str) -> Running {
    let command = command(&["keep", "alice", "--endpoint", &service.endpoint, "--", "sh", "-c", script]);
    Running::spawn_with(command, Stdio::null())
}

#[test]
fn a_program_runs_while_the_peer_is_registered_and_its_exit_code_is_that_of_the_command() {
    let service = Service::in_memory();
    for (script, code) in
        [("echo started", 0), ("echo started; exit 7", 7), ("echo started; kill -9 $$", 137)]
    {
        let mut keep = keep_with(&service, script);
        // Standard output has only the output of the program, because `keep` reports on standard
        // error.
        assert_eq!(keep.line(), "started");
        assert_eq!(keep.wait(), Some(code), "{script}");
        assert!(!service.call(&["discover"]).out.contains("alice"), "the peer is deregistered");
    }
}

#[test]
fn a_program_gets_the_signals_of_the_command_and_may_take_its_time() {
    let service = Service::in_memory();
    // The loop has an end, so that no process remains if the test fails.
    let script = "trap 'echo hangup' HUP; trap 'echo bye; exit 3' TERM; echo started; \
                  i=0; while [ $i -lt 6000 ]; do sleep 0.01; i=$((i + 1)); done";
    let mut keep = keep_with(&service, script);
    keep.line_with("started");
    keep.signal("HUP");
    assert_eq!(keep.line(), "hangup");
    assert!(service.call(&["discover"]).out.contains("alice"));
    keep.signal("TERM");
    assert_eq!(keep.line(), "bye");
    assert_eq!(keep.wait(), Some(3));
    assert!(!service.call(&["discover"]).out.contains("alice"));
}

#[test]
fn a_program_that_cannot_be_started_is_an_error_and_leaves_no_peer() {
    let service = Service::in_memory();
    let arguments = ["keep", "alice", "--endpoint", &service.endpoint, "--", "no/such/program"];
    let output = crate::command::run(&arguments);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("no/such/program can't be started"), "{}", output.err);
    assert!(!service.call(&["discover"]).out.contains("alice"));
}
