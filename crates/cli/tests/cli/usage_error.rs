//! Error messages for invalid arguments and for a service that can't be reached.

use crate::command::run;

#[test]
fn an_invalid_command_line_exits_with_2_and_names_the_rule() {
    for (arguments, message) in [
        (&["register", "two words"][..], "must be 1 to 128 visible ASCII characters"),
        (&["register", "a", "--address", "224.0.0.1"], "--address must be the address of one host"),
        (&["register", "a", "--archetype", " x"], "--archetype must not begin or end with white space"),
        (&["register", "a", "--metadata", "[]"], "must be a JSON object"),
        (&["register", "a", "--port", "65536"], "65536 is not in 0..=65535"),
        (&["discover", "--limit", "0"], "0 is not in 1..=1000"),
        (&["discover", "--watch", "--all"], "cannot be used with"),
        (&["health", "--endpoint", "localhost:8080"], "must begin with http:// or https://"),
        (&["health", "--ca-cert", "no/such/file"], "--ca-cert no/such/file"),
        (&["serve", "--tls-cert", "c.pem", "--memory"], "--tls-cert requires --tls-key"),
        (&["serve", "--memory", "--data", "d"], "memory and data exclude each other"),
        (&["serve", "--memory", "--ttl-min", "600"], "default lease (300 s)"),
        (
            &["serve", "--memory", "--peer-ttl-minutes", "61"],
            "see --peer-ttl-minutes, --ttl-min and --ttl-max",
        ),
        (&["serve", "--memory", "--log", "a=b=c"], "--log"),
        (&["doctor", "--calls", "0"], "0 is not in 1..=1000"),
        (&["cost", "--peers", "0"], "0 is not in 1..=100000000"),
        (&["cost", "--memory", "64"], "64 is not in 128..=10240"),
        (&["demo", "--peers", "1"], "1 is not in 2..=200"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let output = run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {}", output.err);
        assert!(output.err.contains(message), "{arguments:?}: {}", output.err);
        assert_eq!(output.out, "");
    }
}

#[test]
fn an_unknown_verb_gets_a_suggestion() {
    for (word, meant) in [
        ("list", "discover` lists"),
        ("watch", "discover --watch"),
        ("status", "health"),
        ("discovr", "'discover'"),
        ("registre", "'register'"),
    ] {
        let output = run(&[word]);
        assert_eq!(output.code, 2);
        assert!(output.err.contains(meant), "{word}: {}", output.err);
    }
    let output = run(&["setting"]);
    assert!(!output.err.contains("settings"), "a hidden subcommand is suggested: {}", output.err);
}

#[test]
fn the_version_names_the_program() {
    let version = run(&["--version"]);
    let first = format!("aurora-discovery {}\ncommit: ", env!("CARGO_PKG_VERSION"));
    assert!(version.out.starts_with(&first), "{}", version.out);
    let features = version.out.split("features: ").nth(1).unwrap_or_default();
    for (feature, is_on) in [("dynamodb", cfg!(feature = "dynamodb")), ("valkey", cfg!(feature = "valkey"))] {
        assert_eq!(features.contains(feature), is_on, "{}", version.out);
    }
    assert_eq!(run(&["-V"]).out, format!("aurora-discovery {}\n", env!("CARGO_PKG_VERSION")));
    for subcommand in ["serve", "discover", "doctor"] {
        assert_eq!(run(&[subcommand, "--version"]).out, version.out);
    }
}

#[test]
fn an_unreachable_service_exits_with_1_and_a_hint() {
    // Nothing listens on port 1, because only root may listen there.
    let output = run(&["discover", "--endpoint", "http://127.0.0.1:1", "--retries", "0"]);
    assert_eq!(output.code, 1);
    assert!(output.err.contains("http://127.0.0.1:1 can't be reached"), "{}", output.err);
    assert!(output.err.contains("check the endpoint"), "{}", output.err);
    assert_eq!(output.err.lines().count(), 1);
}

#[test]
fn help_exits_with_0() {
    let output = run(&["--help"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    for subcommand in [
        "serve",
        "register",
        "heartbeat",
        "discover",
        "deregister",
        "health",
        "keep",
        "demo",
        "cost",
        "doctor",
    ] {
        assert!(output.out.contains(subcommand), "{subcommand}");
    }
}

#[test]
fn without_arguments_the_command_says_what_to_do_first() {
    let output = run(&[]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    for words in ["aurora-discovery demo", "serve --memory", "discover", "doctor", "help"] {
        assert!(output.out.contains(words), "{}", output.out);
    }
}

#[test]
fn help_groups_the_flags_and_lists_the_exit_codes() {
    let help = run(&["serve", "--help"]).out;
    for heading in ["Store:", "Leases and bounds:", "Connections:", "Requests and responses:", "Log:"] {
        assert!(help.contains(&format!("\n{heading}\n")), "{heading} in {help}");
    }
    assert!(run(&["discover", "--help"]).out.contains("\nConnection:\n"));
    assert!(run(&["--help"]).out.contains("\nExit codes:\n"));
}
