//! Settings: flags, environment variables and the file, and the error messages for mistakes in
//! each.

use std::fs;

use crate::command::{Service, run, run_with, run_with_bytes};

#[test]
fn settings_are_read_from_a_file_and_errors_name_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aurora.toml");
    let config = path.to_str().unwrap();
    fs::write(&path, "memory = true\npeer-ttl-minutes = 1\n").unwrap();
    let service = Service::start(&["--config", config]);
    assert!(service.call(&["register", "a"]).out.contains("(60 s)"));
    let service = Service::start(&["--config", config, "--peer-ttl-minutes", "2"]);
    assert!(service.call(&["register", "a"]).out.contains("(120 s)"));
    fs::write(&path, "peer-ttl-minutes = 0\n").unwrap();
    let output = run(&["serve", "--config", config]);
    assert_eq!(output.code, 2);
    assert!(output.err.contains("aurora.toml: peer-ttl-minutes"), "{}", output.err);
}

#[test]
fn a_flag_overrides_the_environment_and_the_environment_overrides_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aurora.toml");
    // The default lease is shorter than the minimum lease, which is an error. The message names the
    // source of the default lease that applied.
    fs::write(&path, "memory = true\nttl-min = 600\npeer-ttl-minutes = 2\n").unwrap();
    let file = ("AURORA_CONFIG", path.to_str().unwrap());
    let minutes = ("AURORA_PEER_TTL_MINUTES", "3");
    for (flags, variables, counted) in [
        (&["serve"][..], &[file][..], "default lease (120 s)"),
        (&["serve"], &[file, minutes], "default lease (180 s)"),
        (&["serve", "--peer-ttl-minutes", "4"], &[file, minutes], "default lease (240 s)"),
    ] {
        let output = run_with(flags, variables);
        assert_eq!(output.code, 2);
        assert!(output.err.contains(counted), "{}", output.err);
    }
}

#[test]
fn an_empty_variable_counts_as_unset_for_every_command() {
    let empty = [
        ("AURORA_METRICS_LISTEN", ""),
        ("AURORA_TTL_MIN", ""),
        ("AURORA_MEMORY", ""),
        ("AURORA_LOG", ""),
        ("AURORA_CONFIG", ""),
        ("AURORA_DATA", ""),
    ];
    // The minimum lease is longer than the default lease, so `serve` exits once it has read all
    // variables.
    let output = run_with(&["serve", "--memory", "--ttl-min", "600"], &empty);
    assert!(output.code == 2 && output.err.contains("default lease"), "{}", output.err);

    let service = Service::in_memory();
    let empty = [("AURORA_ENDPOINT", ""), ("AURORA_CA_CERT", ""), ("AURORA_LEASE_TOKEN", "")];
    let endpoint = ["--endpoint", &service.endpoint];
    assert_eq!(run_with(&[&["register", "a"], &endpoint[..]].concat(), &empty).code, 0);
    assert_eq!(run_with(&[&["deregister", "a"], &endpoint[..]].concat(), &empty).code, 0);
    let output = run_with(&["health", "--retries", "0", "--timeout", "1"], &empty);
    assert!(!output.err.contains("must begin with"), "the default endpoint is used: {}", output.err);
}

#[test]
fn a_misspelt_variable_is_a_warning_that_names_the_setting() {
    let misspelt = [("AURORA_TTL_MXA", "60")];
    let warning =
        "AURORA_TTL_MXA is not a setting and is ignored; the most similar setting is AURORA_TTL_MAX";
    // The minimum lease is longer than the default lease, so `serve` exits once its log has
    // started.
    let output = run_with(&["serve", "--memory", "--ttl-min", "600"], &misspelt);
    assert!(output.err.contains(warning), "{}", output.err);
    let output = run_with(&["cost"], &misspelt);
    assert_eq!((output.code, output.err), (0, format!("warning: {warning}\n")));
}

#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let not_text = OsStr::from_bytes(b"\xff");
    for (arguments, name) in [
        (&["serve"][..], "AURORA_LOG"),
        (&["serve"], "AURORA_TTL_MIN"),
        (&["serve"], "AURORA_LISTEN"),
        (&["serve"], "AURORA_MEMORY"),
        (&["health"], "AURORA_ENDPOINT"),
        (&["heartbeat", "a"], "AURORA_LEASE_TOKEN"),
    ] {
        // A path may contain any bytes.
        let output = run_with_bytes(arguments, &[(name, not_text), ("AURORA_TLS_CERT", not_text)]);
        assert_eq!((output.code, output.err), (2, format!("error: {name}: must be valid UTF-8\n")));
    }
    let output = run_with_bytes(&["serve"], &[("AURORA_STORE", not_text)]);
    assert!(output.err.starts_with("error: AURORA_STORE = "), "{}", output.err);
}

#[test]
fn an_error_names_the_source_of_the_value() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aurora.toml");
    let config = path.to_str().unwrap();
    fs::write(&path, "ttl-max = 100\n").unwrap();
    for (arguments, variables, message) in [
        (&["serve", "--ttl-min", "0"][..], &[][..], "'--ttl-min <SECONDS>': 0 is not in 1..=86400"),
        (&["serve"], &[("AURORA_TTL_MIN", "0")], "AURORA_TTL_MIN = \"0\": 0 is not in 1..=86400"),
        (&["serve", "--ttl-min=0"], &[("AURORA_TTL_MIN", "0")], "'--ttl-min <SECONDS>': 0"),
        (
            &["serve"],
            &[("AURORA_STORE", "paper")],
            "AURORA_STORE = \"paper\": must be one of embedded, valkey, dynamodb",
        ),
        (&["serve"], &[("AURORA_MEMORY", "perhaps")], "AURORA_MEMORY = \"perhaps\": "),
        (&["serve"], &[("AURORA_LOG", "loud")], "AURORA_LOG = \"loud\": must be a level"),
        (&["serve", "--memory"], &[("AURORA_TLS_CERT", "c.pem")], "AURORA_TLS_CERT requires --tls-key"),
        (
            &["serve", "--ttl-min", "20", "--config", config],
            &[("AURORA_PEER_TTL_MINUTES", "2")],
            "see AURORA_PEER_TTL_MINUTES, --ttl-min and ttl-max in ",
        ),
        (
            &["serve", "--memory", "--heartbeat-interval-min", "300"],
            &[],
            "see --heartbeat-interval-min and --heartbeat-interval-max",
        ),
        (
            &["serve"],
            &[("AURORA_MEMORY", "1"), ("AURORA_DATA", "d")],
            "both AURORA_MEMORY and AURORA_DATA are set",
        ),
        (&["register", "a"], &[("AURORA_LEASE_TOKEN", "x y")], "AURORA_LEASE_TOKEN: "),
    ] {
        let output = run_with(arguments, variables);
        assert_eq!(
            (output.code, output.out.as_str()),
            (2, ""),
            "{arguments:?} {variables:?}: {}",
            output.err
        );
        assert!(output.err.contains(message), "{arguments:?} {variables:?}: {}", output.err);
        assert!(!output.err.contains("x y"), "{}", output.err);
    }
}
