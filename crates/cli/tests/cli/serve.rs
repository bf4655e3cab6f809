//! `serve`.

use crate::command::{Service, run};

#[test]
fn registrations_survive_a_kill_and_a_second_process_is_rejected() {
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
fn a_signal_stops_the_service_with_exit_code_0() {
    for signal in ["TERM", "INT"] {
        let mut service = Service::in_memory();
        service.running.signal(signal);
        assert_eq!(service.running.wait(), Some(0));
    }
}

#[test]
fn metrics_have_a_separate_listener() {
    let mut service = Service::start(&["--memory", "--metrics-listen", "127.0.0.1:0"]);
    assert!(service.running.line().starts_with("metrics on http://127.0.0.1:"));
}

#[test]
fn an_error_about_an_address_in_use_names_it() {
    let service = Service::in_memory();
    let address = service.endpoint.trim_start_matches("http://");
    let output = run(&["serve", "--memory", "--listen", address, "--log", "error"]);
    assert_eq!(output.code, 1);
    assert!(output.err.contains(address), "{}", output.err);
}
