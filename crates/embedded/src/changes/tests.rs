//! Tests of the change log: which changes it drops, and which watchers it wakes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use aurora_discovery_protocol::{
    Address, ChangeKind, Metadata, PeerId, PeerJson, Registration, Timestamp, View,
};
use aurora_discovery_registry::{Limits, Position, PositionLookup, Query, Watch, WatchRead};

use super::{ArchetypeHashes, ChangeLog, ListedPeer};

fn change_log(max_changes: usize) -> Arc<ChangeLog> {
    let changes = ChangeLog::new(&Limits { max_changes, ..Limits::default() });
    changes.head();
    changes
}

fn query(archetypes: &[&str]) -> Query {
    let archetypes =
        archetypes.iter().map(|name| aurora_discovery_protocol::Archetype::parse(name).unwrap()).collect();
    Query {
        archetypes,
        exclude: None,
        view: View::Legacy,
        limit: 100,
        page_bytes: 1 << 20,
        diverse: false,
        fill: false,
    }
}

impl ChangeLog {
    fn archetype_hashes(&self, names: &[&str]) -> ArchetypeHashes {
        names.iter().map(|name| self.hash_archetype(name)).collect()
    }

    /// A peer joins, and the waiting watchers are woken.
    fn join(&self, peer: &str, archetypes: &[&str]) {
        self.add_peer(peer, archetypes);
        self.wake_watchers();
    }

    fn add_peer(&self, peer: &str, archetypes: &[&str]) {
        self.change(peer, None, Some(archetypes), 0);
    }

    /// Adds a change of a peer: it had the archetypes `before` and now has `after`, where `None`
    /// means that it is not listed. The change is made `millis` after the start.
    fn change(&self, peer: &str, before: Option<&[&str]>, after: Option<&[&str]>, millis: u64) {
        let before = before.map(|archetypes| self.archetype_hashes(archetypes));
        let now = Timestamp::from_secs(1_000).plus_millis(millis);
        let Some(archetypes) = after else { return self.add(peer.as_bytes(), before.as_ref(), None, now) };
        let registration = Registration {
            peer_id: PeerId::parse(peer).unwrap(),
            address: Address::parse("10.0.0.1").unwrap().unwrap(),
            port: 1,
            archetypes: aurora_discovery_protocol::Archetypes::parse(archetypes).unwrap(),
            metadata: Metadata::default(),
        };
        let json = PeerJson::new(&registration);
        let listed = ListedPeer {
            archetypes: self.archetype_hashes(archetypes),
            peer: json.encoded(),
            last_seen: Timestamp::from_secs(7),
            expires_in: 300,
            registered_ago: 0,
            signed: None,
        };
        self.add(peer.as_bytes(), before.as_ref(), Some(listed), now);
    }

    fn watcher(self: &Arc<Self>, archetypes: &[&str], after: Option<&Position>) -> Box<dyn Watch> {
        match self.watch(&query(archetypes), after) {
            PositionLookup::Known(watcher) => watcher,
            PositionLookup::Expired | PositionLookup::Foreign => panic!("the position is valid"),
        }
    }
}

/// A waker that counts its wake-ups.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll(watcher: &mut Box<dyn Watch>, counted: &Arc<Counted>) -> Poll<()> {
    watcher.poll_changes(&mut Context::from_waker(&Waker::from(counted.clone())))
}

fn take(watcher: &mut Box<dyn Watch>) -> Vec<(ChangeKind, String)> {
    match watcher.read(1 << 20) {
        WatchRead::Lagged => panic!("the watcher lost changes"),
        WatchRead::Changes { changes, .. } => {
            let id = |json: &[u8]| {
                let value: serde_json::Value = serde_json::from_slice(json).unwrap();
                value["peer_id"].as_str().unwrap().to_owned()
            };
            changes.iter().map(|change| (change.kind, id(&change.json))).collect()
        }
    }
}

#[test]
fn a_watcher_is_woken_once_and_only_by_matching_changes() {
    let changes = change_log(100);
    let (mut rare, mut all) = (changes.watcher(&["rare", "odd"], None), changes.watcher(&[], None));
    let (rares, alls) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
    assert!(poll(&mut rare, &rares).is_pending() && poll(&mut all, &alls).is_pending());
    for n in 0..50 {
        changes.join(&format!("p{n}"), &["frequent"]);
    }
    assert_eq!(
        (rares.0.load(SeqCst), alls.0.load(SeqCst)),
        (0, 1),
        "a watcher that does not read is woken once"
    );
    changes.join("q", &["odd", "rare"]);
    assert_eq!(rares.0.load(SeqCst), 1);
    assert_eq!(take(&mut rare), [(ChangeKind::Joined, "q".to_owned())]);
    assert!(poll(&mut rare, &rares).is_pending());
    assert_eq!(take(&mut all).len(), 51);
    assert_eq!(changes.figures().wakeups, 2);
}

#[test]
fn a_change_between_reading_and_waiting_is_not_missed() {
    let changes = change_log(100);
    let mut watcher = changes.watcher(&["a"], None);
    let counted = Arc::new(Counted::default());
    assert_eq!(take(&mut watcher), []);
    changes.join("p", &["a"]);
    assert!(poll(&mut watcher, &counted).is_ready());
    assert_eq!(take(&mut watcher).len(), 1);
    // After a wake-up for one of its topics, the watcher waits for both again, and a change of the
    // other wakes it too.
    let mut both = changes.watcher(&["a", "b"], None);
    for name in ["a", "b", "a"] {
        assert!(poll(&mut both, &counted).is_pending());
        let before = counted.0.load(SeqCst);
        changes.join(name, &[name]);
        assert_eq!(counted.0.load(SeqCst), before + 1);
        assert_eq!(take(&mut both).len(), 1);
    }
}

#[test]
fn concurrent_wakeups_do_not_hide_changes_from_a_watcher() {
    let changes = change_log(100);
    let mut both = changes.watcher(&["a", "b"], None);
    let counted = Arc::new(Counted::default());
    assert!(poll(&mut both, &counted).is_pending());
    changes.add_peer("p", &["a"]);
    let first = changes.log.lock().take_signals();
    changes.join("q", &["b"]);
    first.into_iter().for_each(|signal| _ = signal.wake());
    assert_eq!(counted.0.load(SeqCst), 1);
    assert_eq!(take(&mut both), [(ChangeKind::Joined, "p".to_owned()), (ChangeKind::Joined, "q".to_owned())]);
}

#[test]
fn changes_that_do_not_match_never_expire_a_watchers_position() {
    let changes = change_log(10);
    let mut rare = changes.watcher(&["rare", "odd"], None);
    let counted = Arc::new(Counted::default());
    let others = || (0..100).for_each(|n| changes.join(&format!("p{n}"), &["frequent"]));
    others();
    assert!(poll(&mut rare, &counted).is_pending());
    others();
    changes.join("q", &["rare"]);
    assert_eq!(counted.0.load(SeqCst), 1);
    changes.join("r", &["odd"]);
    assert_eq!(take(&mut rare), [(ChangeKind::Joined, "q".to_owned()), (ChangeKind::Joined, "r".to_owned())]);
    others();
    assert_eq!(take(&mut rare), []);
    let position = rare.position();
    assert_eq!(position, changes.head(), "the position skips changes that do not match");
}

#[test]
fn a_watcher_that_lags_too_far_gets_lost_and_continues_from_the_end() {
    let changes = change_log(10);
    let mut watcher = changes.watcher(&[], None);
    let start = watcher.position();
    for n in 0..11 {
        changes.join(&format!("p{n}"), &[]);
    }
    assert_eq!(watcher.read(1 << 20), WatchRead::Lagged);
    changes.join("q", &[]);
    assert_eq!(take(&mut watcher), [(ChangeKind::Joined, "q".to_owned())]);
    assert!(matches!(changes.watch(&query(&[]), Some(&start)), PositionLookup::Expired));
    assert!(matches!(changes.delta(&query(&[]), &start), PositionLookup::Expired));
}

#[test]
fn a_position_of_another_run_has_expired_and_a_future_one_is_foreign() {
    let (changes, other) = (change_log(10), change_log(10));
    other.join("p", &[]);
    assert!(matches!(changes.delta(&query(&[]), &other.head()), PositionLookup::Expired));
    let mut ahead = super::LogPosition::decode(&changes.head()).unwrap();
    ahead.offset += 1;
    assert!(matches!(changes.delta(&query(&[]), &ahead.encode()), PositionLookup::Foreign));
    assert!(matches!(changes.watch(&query(&[]), Some(&ahead.encode())), PositionLookup::Foreign));
    assert!(matches!(changes.delta(&query(&[]), &Position(vec![1; 13])), PositionLookup::Foreign));
}

#[test]
fn recording_starts_with_the_first_position_and_stays_within_its_bounds() {
    let changes = ChangeLog::new(&Limits::default());
    assert!(!changes.is_recording());
    changes.head();
    assert!(changes.is_recording());
    let limits = Limits { max_changes_bytes: 10_000, ..Limits::default() };
    let changes = ChangeLog::new(&limits);
    for n in 0..1_000 {
        changes.join(&format!("p{n}"), &["a", "b"]);
        assert!(changes.figures().bytes <= 10_000);
    }
    assert!((10..100).contains(&changes.figures().retained), "{:?}", changes.figures());
}

#[test]
fn a_dropped_watcher_leaves_no_state_behind() {
    let changes = change_log(100);
    let counted = Arc::new(Counted::default());
    for _ in 0..10 {
        let mut watchers = [changes.watcher(&["a", "b"], None), changes.watcher(&[], None)];
        for watcher in &mut watchers {
            assert!(poll(watcher, &counted).is_pending());
        }
        assert_eq!((changes.figures().watchers, changes.log.lock().subscriptions.topics()), (2, 3));
    }
    assert_eq!((changes.figures().watchers, changes.log.lock().subscriptions.topics()), (0, 0));
    changes.join("p", &["a"]);
    assert_eq!(counted.0.load(SeqCst), 0);
}

#[test]
fn a_full_page_of_changes_continues_on_the_next_page() {
    let changes = change_log(100_000);
    let start = changes.head();
    for n in 0..40_000 {
        changes.join(&format!("p{n}"), if n % 10_000 == 9_999 { &["rare"] } else { &["frequent"] });
    }
    let (mut after, mut found, mut pages) = (start, 0, 0);
    loop {
        let PositionLookup::Known(delta) = changes.delta(&Query { limit: 3, ..query(&["rare"]) }, &after)
        else {
            panic!("the position is valid")
        };
        found += delta.joined.len();
        pages += 1;
        after = delta.next;
        if !delta.more {
            break;
        }
    }
    assert_eq!((found, pages), (4, 3), "a page examines a bounded number of changes");
}

#[test]
fn a_page_of_changes_stays_within_its_byte_limit_in_every_view() {
    let changes = change_log(10_000);
    let start = changes.head();
    (0..1_000).for_each(|n| changes.join(&format!("p{n}"), &["a"]));
    for view in [View::Legacy, View::Full] {
        let query = Query { view, limit: 1_000, page_bytes: 20_000, ..query(&[]) };
        let PositionLookup::Known(delta) = changes.delta(&query, &start) else {
            panic!("the position is valid")
        };
        let bytes = delta.joined.to_array().len();
        assert!((10_000..=20_000).contains(&bytes), "{bytes} in {view:?}");
    }
}

#[test]
fn changes_of_one_peer_within_a_second_take_one_place_in_the_log() {
    let changes = change_log(10);
    let start = changes.head();
    changes.join("other", &["b"]);
    changes.change("p", None, Some(&["a"]), 0);
    for n in 1..10_000 {
        changes.change("p", Some(&["a"]), Some(&["a"]), n % 1_000);
    }
    assert_eq!(changes.figures().retained, 2);
    let PositionLookup::Known(delta) = changes.delta(&query(&[]), &start) else { panic!("changes are lost") };
    assert_eq!((delta.joined.len(), delta.changed.len()), (2, 0));
    // Over several seconds, the changes of the peer are merged into one per second.
    for n in 0..5_000 {
        changes.change("p", Some(&["a"]), Some(&["a"]), 2_000 + n);
    }
    assert_eq!(changes.figures().retained, 2 + 5);
}

#[test]
fn a_peer_that_comes_and_goes_all_the_time_takes_few_places_in_the_log() {
    let changes = change_log(1_000);
    for n in 0..1_000 {
        changes.change("p", None, Some(&["a"]), n % 1_000);
        changes.change("p", Some(&["a"]), None, n % 1_000);
    }
    assert!(changes.figures().retained <= 2_000 / 32 + 1, "{:?}", changes.figures());
}

#[test]
fn the_kind_of_a_merged_change_depends_on_the_followers_position() {
    let changes = change_log(100);
    let mut positions = vec![changes.head()];
    type Archetypes = Option<&'static [&'static str]>;
    let steps: [(Archetypes, Archetypes); 5] = [
        (None, Some(&["a"])),
        (Some(&["a"]), Some(&["a", "b"])),
        (Some(&["a", "b"]), Some(&["b"])),
        (Some(&["b"]), None),
        (None, Some(&["b"])),
    ];
    // The kinds of change that followers of everything, of `a` and of `b` get after each position.
    let joined = Some(ChangeKind::Joined);
    let (changed, left) = (Some(ChangeKind::Changed), Some(ChangeKind::Left));
    let expected = [
        // The followers have not seen the peer yet.
        [joined, left, joined],
        [changed, left, joined],
        [changed, left, changed],
        [changed, left, changed],
        [joined, left, joined],
    ];
    for (before, after) in steps {
        changes.change("p", before, after, 0);
        positions.push(changes.head());
    }
    assert_eq!(changes.figures().retained, 1);
    for (position, expected) in positions.iter().zip(expected) {
        let told = [&[][..], &["a"], &["b"]].map(|filter| {
            let watched = take(&mut changes.watcher(filter, Some(position)));
            let PositionLookup::Known(delta) = changes.delta(&query(filter), position) else { panic!() };
            let counts = (delta.joined.len(), delta.changed.len(), delta.left.len());
            let kind = watched.first().map(|(kind, _)| *kind);
            let same = match kind {
                Some(ChangeKind::Joined) => (1, 0, 0),
                Some(ChangeKind::Changed) => (0, 1, 0),
                Some(ChangeKind::Left) => (0, 0, 1),
                None => (0, 0, 0),
            };
            assert_eq!(counts, same, "watching and reading the changes agree");
            kind
        });
        assert_eq!(told, expected);
    }
    let end = positions.last().unwrap();
    assert_eq!(take(&mut changes.watcher(&[], Some(end))), []);
}

#[test]
fn a_watcher_that_reads_slowly_does_not_miss_a_change_that_was_merged_with_another() {
    let changes = change_log(100);
    let mut watcher = changes.watcher(&["a"], None);
    changes.change("p", None, Some(&["a"]), 0);
    assert_eq!(take(&mut watcher).len(), 1);
    // The peer leaves the archetype `a`, two other peers with `a` join, and then the first peer
    // changes again.
    changes.change("p", Some(&["a"]), Some(&["b"]), 2_000);
    changes.change("q", None, Some(&["a"]), 2_000);
    changes.change("r", None, Some(&["a"]), 2_000);
    changes.change("p", Some(&["b"]), Some(&["c"]), 2_000);
    let mut left = 0;
    for _ in 0..10 {
        let WatchRead::Changes { changes, .. } = watcher.read(1) else { panic!("the watcher lost changes") };
        left += changes.iter().filter(|change| change.kind == ChangeKind::Left).count();
    }
    assert_eq!(left, 1);
}

#[test]
fn a_watcher_that_keeps_up_sees_every_change() {
    let changes = change_log(100);
    let mut watcher = changes.watcher(&["a"], None);
    let mut kinds = Vec::new();
    let a: Option<&[&str]> = Some(&["a"]);
    for (before, after) in [(None, a), (a, a), (a, None), (None, a), (a, a)] {
        changes.change("p", before, after, 0);
        kinds.extend(take(&mut watcher).into_iter().map(|(kind, _)| kind));
    }
    use ChangeKind::{Changed, Joined, Left};
    assert_eq!(kinds, [Joined, Changed, Left, Joined, Changed]);
}

#[test]
fn the_memory_of_recent_changes_is_bounded() {
    let changes = change_log(100);
    for n in 0..100_000 {
        changes.add_peer(&format!("p{n}"), &[]);
    }
    assert!(changes.log.lock().recent_peers() <= 400);
}
