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
    let line: serde_json::Value = serde_json::from_str(&second.err).expect("the log is JSON");
    assert_eq!(line["level"], "ERROR");
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
fn an_error_at_the_start_has_the_format_of_the_log() {
    let broken =
        ["serve", "--memory", "--tls-cert", "no/such/file", "--tls-key", "k", "--listen", "127.0.0.1:0"];
    for (arguments, is_json) in
        [(&["--log-format", "text"][..], false), (&[], true), (&["--log", "off"], false)]
    {
        let output = run(&[&broken, arguments].concat());
        assert_eq!(output.code, 1);
        assert!(output.err.contains("no/such/file"), "{}", output.err);
        let lines = output.err.lines().collect::<Vec<_>>();
        let last = serde_json::from_str::<serde_json::Value>(lines.last().unwrap());
        assert_eq!(last.is_ok(), is_json, "{}", output.err);
        assert_eq!(output.err.contains("error: "), !is_json, "{}", output.err);
    }
}

#[test]
fn the_log_says_when_the_service_starts_and_stops() {
    let mut service = Service::logging(&[]);
    let started = service.running.log_line("\"started\"");
    assert!(service.endpoint.ends_with(started["address"].as_str().unwrap()));
    service.running.signal("TERM");
    assert_eq!(service.running.log_line("stopping")["signal"], "SIGTERM");
    service.running.log_line("draining");
    service.running.log_line("\"stopped\"");
    assert_eq!(service.running.wait(), Some(0));
}

#[test]
fn plain_http_beyond_loopback_is_a_warning() {
    let mut service = Service::logging_at("0.0.0.0:0", &[]);
    let warning = service.running.log_line("plain HTTP");
    assert_eq!(warning["level"], "WARN");
    assert!(warning["message"].as_str().unwrap().contains("--tls-cert"), "{warning}");
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
