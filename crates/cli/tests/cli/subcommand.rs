//! The subcommands of a client, against the real service.

use crate::command::{Completed, Running, Service, run_with};

fn ok(output: Completed) -> String {
    assert_eq!((output.code, output.err.as_str()), (0, ""), "{}", output.out);
    output.out
}

#[test]
fn a_peer_is_registered_renewed_discovered_and_deregistered() {
    let service = Service::in_memory();
    let registered = ok(service.call(&["register", "alice", "--port", "9000", "--archetype", "pepino"]));
    assert!(registered.starts_with("alice is registered until "), "{registered}");
    assert!(registered.contains("lease token"), "{registered}");
    assert!(ok(service.call(&["heartbeat", "alice"])).starts_with("alice is renewed until "));
    let listed = ok(service.call(&["discover", "--archetype", "pepino"]));
    assert!(listed.contains("alice  127.0.0.1:9000"), "{listed}");
    assert!(listed.ends_with("1 of 1 live peer\n"), "{listed}");
    assert_eq!(ok(service.call(&["deregister", "alice"])), "alice is deregistered\n");
    assert!(ok(service.call(&["discover"])).ends_with("0 of 0 live peers\n"));
}

#[test]
fn a_heartbeat_for_several_peers_prints_each_result() {
    let service = Service::in_memory();
    ok(service.call(&["register", "alice"]));
    ok(service.call(&["register", "bob"]));
    let both = ok(service.call(&["heartbeat", "bob", "alice", "--discover"]));
    let lines: Vec<_> = both.lines().collect();
    assert!(lines[0].starts_with("bob is renewed until ") && lines[1].starts_with("alice is renewed until "));
    assert!(both.ends_with("2 of 2 live peers\n"), "{both}");
    let some = service.call(&["heartbeat", "alice", "nobody"]);
    assert_eq!((some.code, some.out.lines().count()), (1, 2));
    assert!(some.out.ends_with("(peer_not_registered)\n"), "{}", some.out);
    let json = service.call(&["heartbeat", "alice", "nobody", "--json"]);
    assert_eq!(json.code, 1);
    let response: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&response["renewed"], &response["results"][1]["code"]),
        (&1.into(), &"peer_not_registered".into())
    );
    assert_eq!(service.call(&[&["heartbeat"][..], &["p"; 101]].concat()).code, 2);
}

#[test]
fn register_writes_the_token_file_that_the_other_verbs_read() {
    let service = Service::in_memory();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alice.token");
    let path = path.to_str().unwrap();
    let printed = ok(service.call(&["register", "alice", "--token-file", path]));
    let token = std::fs::read_to_string(path).unwrap();
    assert!(printed.contains(path) && !printed.contains(token.trim()), "{printed}");
    for proof in [["--token-file", path], ["--token", token.trim()], ["--lease-token", token.trim()]] {
        ok(service.call(&[&["heartbeat", "alice"], &proof[..]].concat()));
    }
    let wrong = service.call(&["heartbeat", "alice", "--token", "wrong"]);
    assert!(wrong.code == 1 && wrong.err.contains("not_holder"), "{}", wrong.err);
    let several = service.call(&["heartbeat", "alice", "bob", "--token-file", path]);
    assert!(several.code == 2 && several.err.contains("belongs to one peer"), "{}", several.err);
    ok(service.call(&["deregister", "alice", "--token-file", path]));
}

#[test]
fn json_output_is_the_response_of_the_service() {
    let service = Service::in_memory();
    let metadata = r#"{ "n": 123456789012345678901234567890 }"#;
    let registered = ok(service.call(&["register", "a", "--ttl", "60", "--metadata", metadata, "--json"]));
    let response: serde_json::Value = serde_json::from_str(&registered).unwrap();
    assert_eq!((&response["peer_id"], &response["ttl_seconds"]), (&"a".into(), &60.into()));
    let listed = ok(service.call(&["discover", "--json"]));
    assert!(listed.contains(metadata), "{listed}");
    let page: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(page["peers"][0].as_object().unwrap().len(), 6);
    let heartbeat = ok(service.call(&["heartbeat", "a", "--discover", "--json"]));
    let response: serde_json::Value = serde_json::from_str(&heartbeat).unwrap();
    assert_eq!(response["count"], 0);
    assert!((16..=20).contains(&response["heartbeat_interval_seconds"].as_u64().unwrap()), "{response}");
}

#[test]
fn all_pages_are_listed_under_one_heading() {
    let service = Service::in_memory();
    for n in 0..5 {
        ok(service.call(&["register", &format!("peer-{n}")]));
    }
    let listed = ok(service.call(&["discover", "--all", "--limit", "2", "--exclude", "peer-3"]));
    assert_eq!(listed.matches("PEER").count(), 1);
    for (n, times) in [(0, 1), (1, 1), (2, 1), (3, 0), (4, 1)] {
        assert_eq!(listed.matches(&format!("peer-{n}")).count(), times, "{listed}");
    }
    assert!(listed.ends_with("4 live peers\n"));
    let json = ok(service.call(&["discover", "--all", "--limit", "2", "--json"]));
    assert!(json.lines().count() >= 3);
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

#[test]
fn fill_adds_other_peers_to_a_rare_archetype() {
    let service = Service::in_memory();
    ok(service.call(&["register", "rare", "--archetype", "r"]));
    ok(service.call(&["register", "other"]));
    assert!(!ok(service.call(&["discover", "--archetype", "r"])).contains("other"));
    let filled = ok(service.call(&["discover", "--archetype", "r", "--fill"]));
    assert!(
        filled.contains("other") && filled.ends_with("1 live peer matches, 1 other listed\n"),
        "{filled}"
    );
    assert_eq!(service.call(&["discover", "--all", "--fill"]).code, 2);
}

#[test]
fn text_from_peers_can_not_control_the_terminal() {
    let service = Service::in_memory();
    // The service accepts a zero-width joiner within a word of an archetype, and any text in
    // metadata. The command has to escape both.
    let metadata = r#"{"x": "\u202e"}"#.replace("\\u202e", "\u{202e}");
    ok(service.call(&["register", "a", "--archetype", "ev\u{200d}il", "--metadata", &metadata]));
    for listed in [ok(service.call(&["discover"])), ok(service.call(&["discover", "--json"]))] {
        assert!(listed.contains("200d}il") || listed.contains("\\u200dil"), "{listed}");
        assert!(!listed.contains(['\u{1b}', '\u{200d}', '\u{202e}']), "{listed}");
    }
}

#[test]
fn the_full_view_shows_when_leases_end() {
    let service = Service::in_memory();
    ok(service.call(&["register", "a", "--ttl", "60"]));
    let listed = ok(service.call(&["discover", "--full"]));
    assert!(listed.lines().next().unwrap().contains("EXPIRES"), "{listed}");
}

#[test]
fn a_lease_out_of_bounds_is_refused_with_the_bounds_of_the_service() {
    let service = Service::start(&["--memory", "--ttl-min", "60", "--ttl-max", "600"]);
    for ttl in ["0", "59", "601"] {
        let output = service.call(&["register", "a", "--ttl", ttl]);
        assert_eq!(output.code, 1);
        assert!(output.err.contains("must be an integer from 60 to 600"), "{}", output.err);
    }
}

#[test]
fn a_request_for_an_unknown_peer_fails() {
    let service = Service::in_memory();
    for subcommand in ["heartbeat", "deregister"] {
        let output = service.call(&[subcommand, "nobody"]);
        assert_eq!(output.code, 1);
        assert!(output.err.starts_with("error: the service refused:"), "{}", output.err);
        assert!(output.err.contains("peer_not_registered"), "{}", output.err);
        assert_eq!(output.err.lines().count(), 1);
    }
}

#[test]
fn network_prints_statistics() {
    let service = Service::in_memory();
    assert!(ok(service.call(&["network"])).ends_with("no known risks\n"));
    ok(service.call(&["register", "a", "--archetype", "com\u{200d}mon"]));
    ok(service.call(&["register", "b", "--archetype", "com\u{200d}mon", "--archetype", "rare"]));
    let printed = ok(service.call(&["network"]));
    let first: Vec<_> = printed.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first, ["live", "peers", "2"], "{printed}");
    assert!(printed.lines().any(|line| line.starts_with("undiscovered ")), "{printed}");
    assert!(printed.contains("ARCHETYPE") && printed.contains("com\\u{200d}mon  2"), "{printed}");
    assert!(printed.ends_with("no known risks\n"), "a new archetype is no risk yet: {printed}");
    let response: serde_json::Value =
        serde_json::from_str(&ok(service.call(&["network", "--json"]))).unwrap();
    assert_eq!((&response["peers"], &response["archetypes"][1]["peers"]), (&2.into(), &1.into()));
}

#[test]
fn health_exits_with_0_for_a_healthy_service() {
    let service = Service::in_memory();
    assert_eq!(ok(service.call(&["health"])), "healthy\n");
}

#[test]
fn the_endpoint_can_be_set_in_the_environment() {
    let service = Service::in_memory();
    assert_eq!(run_with(&["health"], &[("AURORA_ENDPOINT", &service.endpoint)]).code, 0);
}

#[test]
fn watch_without_a_terminal_prints_tables_until_stopped() {
    let service = Service::in_memory();
    ok(service.call(&["register", "alice"]));
    let mut watch =
        Running::start(&["discover", "--watch", "--interval", "1", "--endpoint", &service.endpoint]);
    for _ in 0..2 {
        assert!(watch.line().starts_with("PEER"));
        assert!(watch.line().starts_with("alice"));
        assert_eq!(watch.line(), "1 of 1 live peer");
    }
    watch.signal("INT");
    assert_eq!(watch.wait(), Some(0));
}

#[test]
fn a_verb_moves_on_to_the_next_endpoint_if_one_fails() {
    let service = Service::in_memory();
    // Nothing listens on port 1. The probability that all runs start at the service is below 1 in
    // 10^6, and a run that starts elsewhere must succeed as well.
    let both = format!("http://127.0.0.1:1,{}", service.endpoint);
    for _ in 0..10 {
        ok(run_with(&["network", "--endpoint", &both, "--retries", "0"], &[]));
        ok(run_with(&["network", "--retries", "0"], &[("AURORA_ENDPOINT", &both)]));
    }
    let repeated = ["--endpoint", "http://127.0.0.1:1", "--endpoint", &service.endpoint, "--retries", "0"];
    ok(run_with(&[&["discover"], &repeated[..]].concat(), &[]));
    let checked = run_with(&[&["doctor"], &repeated[..]].concat(), &[]);
    assert!(checked.code == 2 && checked.err.contains("--endpoint must name one URL"), "{}", checked.err);
}

#[test]
fn watch_lists_all_peers_by_name_and_follows_the_changes() {
    let service = Service::in_memory();
    for name in ["e", "d", "c", "b", "a"] {
        ok(service.call(&["register", name]));
    }
    // Two peers per page, so that a few peers take several pages.
    let arguments =
        ["discover", "--watch", "--limit", "2", "--interval", "1", "--endpoint", &service.endpoint];
    let mut watch = Running::start(&arguments);
    let list = |watch: &mut Running| {
        assert_eq!(watch.line(), "PEER  ADDRESS    ARCHETYPES  METADATA");
        let mut names = String::new();
        loop {
            let line = watch.line();
            if line.ends_with("live peers") {
                return names;
            }
            names.push_str(line.split(' ').next().unwrap());
        }
    };
    assert_eq!(list(&mut watch), "abcde");
    ok(service.call(&["deregister", "c"]));
    ok(service.call(&["register", "aa"]));
    while list(&mut watch) != "aaabde" {}
}

#[test]
fn watch_requests_the_list_repeatedly_where_a_stream_would_not_do() {
    let service = Service::in_memory();
    ok(service.call(&["register", "b"]));
    ok(service.call(&["register", "a"]));
    let arguments = ["discover", "--watch", "--full", "--interval", "1", "--endpoint", &service.endpoint];
    let mut watch = Running::start(&arguments);
    for _ in 0..2 {
        assert!(watch.line().starts_with("PEER  ADDRESS    SEEN  EXPIRES"));
        assert!(watch.line().starts_with("a ") && watch.line().starts_with("b "));
        assert_eq!(watch.line(), "2 of 2 live peers");
    }
}
