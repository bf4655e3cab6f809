//! `demo`.

use crate::command::{Running, run};

#[test]
fn a_demo_shows_peers_that_join_and_meet_and_ends_by_itself() {
    let ran = run(&["demo", "--seconds", "3", "--peers", "5"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.matches(" joined (").count() >= 5, "{}", ran.out);
    assert!(ran.out.contains(" crashed: "), "{}", ran.out);
    let summary = ran.out.lines().last().unwrap();
    assert!(summary.starts_with("In 3 s: ") && summary.contains(" registered, "), "{summary}");
    assert!(!ran.out.contains('\u{1b}'), "no terminal, no escapes");
}

#[test]
fn a_crashed_peer_is_seen_to_expire_and_a_stop_ends_the_demo() {
    let mut demo = Running::start(&["demo", "--peers", "3"]);
    demo.line_with(" crashed: ");
    demo.line_with(" left: ");
    demo.line_with(" expired: ");
    demo.signal("INT");
    assert!(demo.line_with("In ").contains(" 1 expired"));
    assert_eq!(demo.wait(), Some(0));
}
