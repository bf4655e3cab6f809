//! `demo`.

use crate::command::{Running, Service, run};

#[test]
fn a_demo_ends_after_the_given_time() {
    let output = run(&["demo", "--seconds", "1", "--peers", "5"]);
    assert_eq!((output.code, output.err.as_str()), (0, ""));
    let summary = output.out.lines().last().unwrap();
    assert!(summary.starts_with("In ") && summary.contains(" registered, "), "{summary}");
    assert!(!output.out.contains('\u{1b}'), "no terminal, no escapes");
}

#[test]
fn a_demo_shows_peers_that_join_leave_crash_and_expire_until_it_is_stopped() {
    const ALL: [&str; 4] = [" joined (", " left: ", " crashed: ", " expired: "];
    let mut demo = Running::start(&["demo", "--peers", "3"]);
    let mut lines = Vec::new();
    while !ALL.iter().all(|what| times(&lines, what) > 0) || times(&lines, ALL[0]) < 3 {
        lines.push(demo.line());
    }
    demo.signal("INT");
    while !lines.iter().any(|line| line.starts_with("In ")) {
        lines.push(demo.line());
    }
    let counted = format!(" {} left, {} expired, ", times(&lines, " left: "), times(&lines, " expired: "));
    assert!(lines.last().unwrap().contains(&counted), "{counted}: {lines:?}");
    assert_eq!(demo.wait(), Some(0));
}

#[test]
fn a_demo_that_serves_listens_at_its_address_and_outlives_its_peers() {
    let demo = Running::start(&["demo", "--seconds", "1", "--peers", "2", "--serve=127.0.0.1:0"]);
    let Service { endpoint, running: mut demo } = Service::of(demo);
    demo.line_with("The peers have left");
    let registered = run(&["register", "alice", "--endpoint", endpoint.trim_end_matches(',')]);
    assert_eq!((registered.code, registered.err.as_str()), (0, ""));
    demo.signal("INT");
    assert_eq!(demo.wait(), Some(0));
}

fn times(lines: &[String], what: &str) -> usize {
    lines.iter().filter(|line| line.contains(what)).count()
}
