//! The bill, as printed by the command and shown in the documentation.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use crate::command::run;
use crate::documentation;

const BEGIN: &str = "<!-- cost:begin -->\n";
const END: &str = "<!-- cost:end -->";
const SIZES_BEGIN: &str = "<!-- cost-sizes:begin -->\n";
const SIZES_END: &str = "<!-- cost-sizes:end -->";
/// The example in the documentation: a hundred peers that send one heartbeat a minute, as in the
/// original network.
const SHOWN: [&str; 5] = ["cost", "--peers", "100", "--heartbeat", "60"];

fn json(arguments: &[&str]) -> Value {
    let output = run(&[&["cost", "--json"], arguments].concat());
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    serde_json::from_str(&output.out).unwrap()
}

fn dollars(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn the_documentation_shows_what_the_command_prints() {
    let printed = format!("```text\n$ aurora-discovery {}\n{}```\n", SHOWN.join(" "), run(&SHOWN).out);
    documentation::section_is("cost.md", BEGIN, END, &printed);
}

/// The documentation compares the ways to run the service for networks of these sizes.
#[test]
fn the_documentation_shows_the_totals_of_three_sizes() {
    let mut table = String::new();
    writeln!(
        table,
        "| US dollars per month | 100 peers | 10,000 peers | 1,000,000 peers |\n|---|---|---|---|"
    )
    .unwrap();
    let sizes = ["100", "10000", "1000000"].map(|peers| json(&["--peers", peers])["scenarios"][0].clone());
    for (name, bill) in [
        ("DynamoDB behind a REST API", "rest_api"),
        ("DynamoDB behind an HTTP API", "http_api"),
        ("one machine, embedded store", "own_machine"),
        ("three machines, Valkey", "own_cluster"),
    ] {
        let cell = |scenario: &Value| {
            let Value::Object(bill) = &scenario[bill] else { panic!("{scenario}") };
            let note =
                if bill.get("is_sufficient") == Some(&Value::Bool(false)) { " (too small)" } else { "" };
            let machine = bill.get("machine_name").and_then(Value::as_str);
            let machine = machine.map_or_else(String::new, |machine| format!(" ({machine})"));
            format!("{:.2}{machine}{note}", dollars(&bill["total"]))
        };
        writeln!(table, "| {name} | {} |", sizes.each_ref().map(cell).join(" | ")).unwrap();
    }
    documentation::section_is("cost.md", SIZES_BEGIN, SIZES_END, &table);
}

#[test]
fn every_part_is_shown_for_every_endpoint_and_cadence() {
    let text = run(&SHOWN).out;
    for part in [
        "API",
        "Lambda requests",
        "Lambda duration",
        "DynamoDB writes",
        "DynamoDB reads",
        "DynamoDB storage",
        "egress",
        "logs",
        "metrics",
        "total",
        "alarms",
    ] {
        assert_eq!(text.lines().filter(|line| line.starts_with(part)).count(), 3, "{part}:\n{text}");
    }
    for expected in [
        "REST API",
        "HTTP API",
        "function URL",
        "as given: a heartbeat every 60 s",
        "as the service requests",
        "legacy clients: a heartbeat every 30 s, a discover of 1000 every 10 s",
        "A mailbox, for each peer that has one and connects 10 times a day",
        "2026-11",
        "without the free tier",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
}

#[test]
fn each_option_raises_or_lowers_the_bill_as_expected() {
    let total = |arguments: &[&str]| dollars(&json(arguments)["scenarios"][0]["rest_api"]["total"]);
    let plain = total(&[]);
    for (dearer, arguments) in [
        (true, &["--peers", "101"][..]),
        (false, &["--heartbeat", "61"]),
        (false, &["--discover", "301"]),
        (false, &["--discover", "0"]),
        (true, &["--limit", "40"]),
        (false, &["--riding"]),
        (false, &["--beats-per-call", "5"]),
        (true, &["--archetypes", "8"]),
        (true, &["--lease", "120"]),
        (true, &["--starts-per-day", "20"]),
        (true, &["--connections", "1"]),
        (true, &["--connections", "1", "--mail-poll", "0"]),
        (false, &["--memory", "128"]),
        (true, &["--architecture", "x86_64"]),
        (true, &["--billed", "10"]),
        (true, &["--custom-metrics"]),
    ] {
        let changed = total(arguments);
        assert_eq!(changed > plain, dearer, "{arguments:?}: {plain} -> {changed}");
        assert!((changed - plain).abs() > 1e-6, "{arguments:?} changes nothing");
    }
}

#[test]
fn a_custom_price_list_replaces_the_built_in_one_entirely() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prices.toml");
    let file = path.to_str().unwrap();
    let built_in = run(&["cost", "--print-prices"]).out;
    fs::write(&path, built_in.replace("rest_per_million = 3.50", "rest_per_million = 7")).unwrap();
    let custom = json(&["--prices", file]);
    let default = json(&[]);
    let api = |report: &Value| dollars(&report["scenarios"][0]["rest_api"]["api"]);
    assert!((api(&custom) / api(&default) - 2.0).abs() < 1e-9);

    fs::write(&path, built_in.replace("[egress]\nper_gb = 0.09", "")).unwrap();
    let output = run(&["cost", "--prices", file]);
    assert_eq!((output.code, output.out.as_str()), (2, ""));
    assert!(output.err.contains("prices.toml: egress.per_gb must be a price in USD"), "{}", output.err);
}

#[test]
fn a_heartbeat_interval_longer_than_the_lease_is_rejected() {
    let output = run(&["cost", "--heartbeat", "301"]);
    assert_eq!(output.code, 2);
    assert!(output.err.contains("--heartbeat must be at most --lease (300 s)"), "{}", output.err);
}
