//! The verbs of a client, against the real service.

use crate::command::{Ran, Running, Service, run_with};

fn ok(ran: Ran) -> String {
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    ran.out
}

#[test]
fn a_peer_registers_beats_is_discovered_and_leaves() {
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
fn a_heartbeat_for_many_says_what_became_of_each() {
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
    let answer: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(
        (&answer["renewed"], &answer["results"][1]["code"]),
        (&1.into(), &"peer_not_registered".into())
    );
    assert_eq!(service.call(&[&["heartbeat"][..], &["p"; 101]].concat()).code, 2);
}

#[test]
fn json_is_the_services_own_answer() {
    let service = Service::in_memory();
    let metadata = r#"{ "n": 123456789012345678901234567890 }"#;
    let registered = ok(service.call(&["register", "a", "--ttl", "60", "--metadata", metadata, "--json"]));
    let answer: serde_json::Value = serde_json::from_str(&registered).unwrap();
    assert_eq!((&answer["peer_id"], &answer["ttl_seconds"]), (&"a".into(), &60.into()));
    let listed = ok(service.call(&["discover", "--json"]));
    assert!(listed.contains(metadata), "{listed}");
    let page: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(page["peers"][0].as_object().unwrap().len(), 6);
    let beat = ok(service.call(&["heartbeat", "a", "--discover", "--json"]));
    let answer: serde_json::Value = serde_json::from_str(&beat).unwrap();
    assert_eq!(answer["count"], 0);
    assert!((16..=20).contains(&answer["heartbeat_interval_seconds"].as_u64().unwrap()), "{answer}");
}

#[test]
fn all_peers_are_listed_page_by_page_under_one_head() {
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
fn a_rare_archetype_is_filled_up_where_that_is_asked_for() {
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
fn what_peers_wrote_can_not_steer_the_terminal() {
    let service = Service::in_memory();
    ok(service.call(&["register", "a", "--archetype", "\u{202e}evil\u{2066}"]));
    let listed = ok(service.call(&["discover"]));
    assert!(listed.contains("\\u{202e}evil\\u{2066}"), "{listed}");
    assert!(!listed.contains('\u{1b}'));
}

#[test]
fn the_full_view_says_when_leases_end() {
    let service = Service::in_memory();
    ok(service.call(&["register", "a", "--ttl", "60"]));
    let listed = ok(service.call(&["discover", "--full"]));
    assert!(listed.lines().next().unwrap().contains("EXPIRES"), "{listed}");
}

#[test]
fn an_unknown_peer_is_told_to_register() {
    let service = Service::in_memory();
    for verb in ["heartbeat", "deregister"] {
        let ran = service.call(&[verb, "nobody"]);
        assert_eq!(ran.code, 1);
        assert!(ran.err.starts_with("error: the service refused:"), "{}", ran.err);
        assert!(ran.err.contains("peer_not_registered"), "{}", ran.err);
        assert_eq!(ran.err.lines().count(), 1);
    }
}

#[test]
fn the_network_is_told_with_what_is_at_risk() {
    let service = Service::in_memory();
    assert!(ok(service.call(&["network"])).ends_with("nothing is known to be at risk\n"));
    ok(service.call(&["register", "a", "--archetype", "\u{202e}common"]));
    ok(service.call(&["register", "b", "--archetype", "\u{202e}common", "--archetype", "rare"]));
    let told = ok(service.call(&["network"]));
    let first: Vec<_> = told.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(first, ["live", "peers", "2"], "{told}");
    assert!(told.lines().any(|line| line.starts_with("undiscovered ")), "{told}");
    assert!(told.contains("ARCHETYPE") && told.contains("\\u{202e}common  2"), "{told}");
    assert!(told.ends_with("at risk: archetype `rare` has 1 peer: use fill=any\n"), "{told}");
    let answer: serde_json::Value = serde_json::from_str(&ok(service.call(&["network", "--json"]))).unwrap();
    assert_eq!((&answer["peers"], &answer["archetypes"][1]["peers"]), (&2.into(), &1.into()));
}

#[test]
fn health_is_an_exit_code() {
    let service = Service::in_memory();
    assert_eq!(ok(service.call(&["health"])), "healthy\n");
}

#[test]
fn the_endpoint_may_come_from_the_environment() {
    let service = Service::in_memory();
    assert_eq!(run_with(&["health"], &[("AURORA_ENDPOINT", &service.endpoint)]).code, 0);
}

#[test]
fn a_watch_that_is_no_terminal_prints_one_table_after_the_other_until_it_is_stopped() {
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
