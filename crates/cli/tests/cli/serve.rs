//! `serve`.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::command::{Running, Service, command, run, run_with};

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
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_does_not_stop_the_service() {
    let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = command(&["serve", "--memory", "--listen", "127.0.0.1:0", "--log", "warn"])
        .stdout(full())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let warning = log.find_map(|line| line.ok().filter(|line| line.contains("standard output"))).unwrap();
    let warning: serde_json::Value = serde_json::from_str(&warning).unwrap();
    let endpoint = format!("http://{}", warning["address"].as_str().unwrap());
    let health = run(&["health", "--endpoint", &endpoint]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(health.code, 0, "{}", health.err);

    // The service also works if its log cannot be written.
    let silent = command(&["serve", "--memory", "--listen", "127.0.0.1:0", "--log", "info"]);
    let mut service = Service::of(Running::spawn_with(silent, full()));
    assert_eq!(service.call(&["health"]).code, 0);
    service.running.signal("TERM");
    assert_eq!(service.running.wait(), Some(0));
}

/// By default, the signal SIGXFSZ, which the system sends at the limit, would end the service.
#[test]
fn reaching_the_file_size_limit_is_treated_as_a_full_disk() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let serve = command(&["serve", "--listen", "127.0.0.1:0", "--log", "off", "--data", data]);
    let mut shell = Command::new("sh");
    // 64 blocks of 512 or 1,024 bytes.
    shell.args(["-c", "ulimit -f 64; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    let service = Service::of(Running::spawn(shell));
    let health = service.call(&["health", "--retries", "0"]);
    assert_eq!(health.code, 1);
    assert!(health.out.contains("cannot write to the journal"), "{}", health.out);
    assert_eq!(service.call(&["discover"]).code, 0);
    assert_eq!(service.call(&["register", "a", "--retries", "0"]).code, 1);
}

#[test]
fn the_state_directory_of_systemd_is_the_default() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let _service = Service::start_with(&[], &[("STATE_DIRECTORY", state.as_os_str())]);
    assert!(state.join("journal-0000000001").exists());
}

#[test]
fn without_a_default_the_data_directory_is_required() {
    let unset = [("STATE_DIRECTORY", ""), ("XDG_DATA_HOME", ""), ("HOME", "")];
    let output = run_with(&["serve", "--listen", "127.0.0.1:0", "--log", "error"], &unset);
    assert_eq!((output.code, output.out.as_str()), (2, ""));
    assert!(output.err.contains("--data is required"), "{}", output.err);
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
