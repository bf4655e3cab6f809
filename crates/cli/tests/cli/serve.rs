//! `serve`.

use std::fs;

use crate::command::{Service, run, run_with};

#[test]
fn registrations_survive_a_kill_and_a_second_process_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::on(directory.path());
    assert_eq!(service.call(&["register", "alice", "--archetype", "pepino"]).code, 0);
    let second = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--log",
        "error",
        "--data",
        directory.path().to_str().unwrap(),
    ]);
    assert_eq!((second.code, second.out.as_str()), (1, ""));
    assert!(second.err.starts_with("error: "), "{}", second.err);
    drop(service); // SIGKILL
    let service = Service::on(directory.path());
    assert!(service.call(&["discover", "--archetype", "pepino"]).out.contains("alice"));
}

#[test]
fn a_stop_is_an_orderly_end() {
    for signal in ["TERM", "INT"] {
        let mut service = Service::in_memory();
        service.running.signal(signal);
        assert_eq!(service.running.wait(), Some(0));
    }
}

#[test]
fn settings_come_from_a_file_and_its_mistakes_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aurora.toml");
    let config = path.to_str().unwrap();
    fs::write(&path, "memory = true\npeer-ttl-minutes = 1\n").unwrap();
    let service = Service::start(&["--config", config]);
    assert!(service.call(&["register", "a"]).out.contains("(60 s)"));
    let service = Service::start(&["--config", config, "--peer-ttl-minutes", "2"]);
    assert!(service.call(&["register", "a"]).out.contains("(120 s)"));
    fs::write(&path, "peer-ttl-minutes = 0\n").unwrap();
    let ran = run(&["serve", "--config", config]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("aurora.toml: peer-ttl-minutes"), "{}", ran.err);
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aurora.toml");
    // Too short a default lease for the shortest one: the refusal says which default counted.
    fs::write(&path, "memory = true\nttl-min = 600\npeer-ttl-minutes = 2\n").unwrap();
    let file = ("AURORA_CONFIG", path.to_str().unwrap());
    let minutes = ("AURORA_PEER_TTL_MINUTES", "3");
    for (flags, variables, counted) in [
        (&["serve"][..], &[file][..], "default lease (120 s)"),
        (&["serve"], &[file, minutes], "default lease (180 s)"),
        (&["serve", "--peer-ttl-minutes", "4"], &[file, minutes], "default lease (240 s)"),
    ] {
        let ran = run_with(flags, variables);
        assert_eq!(ran.code, 2);
        assert!(ran.err.contains(counted), "{}", ran.err);
    }
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let mut service = Service::start(&["--memory", "--metrics-listen", "127.0.0.1:0"]);
    assert!(service.running.line().starts_with("metrics on http://127.0.0.1:"));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let service = Service::in_memory();
    let address = service.endpoint.trim_start_matches("http://");
    let ran = run(&["serve", "--memory", "--listen", address, "--log", "error"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(address), "{}", ran.err);
}
