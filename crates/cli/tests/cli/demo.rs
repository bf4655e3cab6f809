//! `demo`.

use crate::command::{Running, run};

#[test]
fn a_demo_ends_by_itself_when_its_time_is_over() {
    let ran = run(&["demo", "--seconds", "1", "--peers", "5"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let summary = ran.out.lines().last().unwrap();
    assert!(summary.starts_with("In ") && summary.contains(" registered, "), "{summary}");
    assert!(!ran.out.contains('\u{1b}'), "no terminal, no escapes");
}

#[test]
fn a_demo_shows_peers_that_join_leave_crash_and_expire_until_it_is_stopped() {
    const ALL: [&str; 4] = [" joined (", " left: ", " crashed: ", " expired: "];
    let mut demo = Running::start(&["demo", "--peers", "3"]);
    let mut told = Vec::new();
    while !ALL.iter().all(|what| times(&told, what) > 0) || times(&told, ALL[0]) < 3 {
        told.push(demo.line());
    }
    demo.signal("INT");
    while !told.iter().any(|line| line.starts_with("In ")) {
        told.push(demo.line());
    }
    let counted = format!(" {} left, {} expired, ", times(&told, " left: "), times(&told, " expired: "));
    assert!(told.last().unwrap().contains(&counted), "{counted}: {told:?}");
    assert_eq!(demo.wait(), Some(0));
}

fn times(told: &[String], what: &str) -> usize {
    told.iter().filter(|line| line.contains(what)).count()
}
