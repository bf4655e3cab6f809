//! Disk failures below the store: changes that were not made durable are reverted, and acknowledged
//! changes stay.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Renewal, Store, StoreError};

use super::fixture::{at, block_on, claim, id, ids, put, query, token};
use crate::disk::LossyDisk;
use crate::journal::{Hooks, Journal, JournalOptions};
use crate::{EmbeddedOptions, EmbeddedStore};

const HOME: &str = "203.0.113.1";
const AWAY: &str = "203.0.113.2";

fn open(disk: &LossyDisk, now: Timestamp) -> Arc<EmbeddedStore> {
    let options = EmbeddedOptions { heal_interval: Duration::from_millis(1), ..EmbeddedOptions::default() };
    EmbeddedStore::open_on(Arc::new(disk.clone()), options, now).unwrap()
}

fn listed(store: &EmbeddedStore, archetypes: &[&str], now: Timestamp) -> Vec<String> {
    ids(&block_on(store.sample(&query(archetypes, 100), now)).unwrap()).into_iter().collect()
}

/// Starts an operation that then waits for the disk.
fn begin<'a, T>(
    operation: impl Future<Output = T> + Send + 'a,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    let mut operation = Box::pin(operation);
    assert!(operation.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    operation
}

/// Lets the disk work again, and waits until the journal has healed.
fn heal(store: &EmbeddedStore, disk: &LossyDisk) {
    disk.set_sync_fails(false);
    while block_on(store.health()).is_err() {
        thread::yield_now();
    }
}

#[test]
fn changes_that_failed_are_reverted_and_acknowledged_changes_are_kept() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    for peer in ["replaced", "removed", "both"] {
        store.put_now(put(peer, HOME, &["old"]), at(0));
    }
    let stall = disk.stall();
    let replaced = begin(store.put(put("replaced", HOME, &["new"]), at(10)));
    stall.wait();
    let here = claim(HOME, None);
    let (removed_id, both_id) = (id("removed"), id("both"));
    let removed = begin(store.remove(&removed_id, &here, at(10)));
    let newcomer = begin(store.put(put("newcomer", HOME, &["new"]), at(10)));
    let gone = begin(store.remove(&both_id, &here, at(10)));
    let back = begin(store.put(put("both", AWAY, &["new"]), at(11)));
    assert_eq!(listed(&store, &["new"], at(11)), ["both", "newcomer", "replaced"]);
    store.renew_now("replaced", at(100));

    disk.set_sync_fails(true);
    drop(stall);
    for outcome in [block_on(replaced).err(), block_on(removed).err(), block_on(newcomer).err()] {
        assert!(matches!(outcome, Some(StoreError::Unavailable { .. })), "{outcome:?}");
    }
    assert!(block_on(gone).is_err() && block_on(back).is_err());
    assert_eq!(listed(&store, &["old"], at(100)), ["both", "removed", "replaced"]);
    assert_eq!(listed(&store, &["new"], at(100)), Vec::<String>::new());
    let ends = |peer: &str| store.shared.index.read().expires_at(&id(peer));
    assert_eq!((ends("removed"), ends("replaced")), (Some(at(300)), Some(at(400))));
    store.check();

    assert!(block_on(store.put(put("refused", HOME, &[]), at(100))).is_err());
    assert_eq!(listed(&store, &[], at(100)), ["both", "removed", "replaced"]);
    heal(&store, &disk);
    store.put_now(put("newcomer", HOME, &["new"]), at(100));
    drop(store);
    let store = open(&disk.lose_power(), at(200));
    assert_eq!(listed(&store, &[], at(200)), ["both", "newcomer", "removed", "replaced"]);
    assert_eq!(listed(&store, &["old"], at(200)), ["both", "removed", "replaced"]);
}

#[test]
fn a_checkpoint_makes_up_for_records_lost_in_a_disk_failure() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    store.put_now(put("sleeper", HOME, &[]), at(0));
    disk.set_sync_fails(true);
    assert!(block_on(store.put(put("p", HOME, &[]), at(0))).is_err());
    assert_eq!(block_on(store.sweep(at(400))).unwrap().expired, 1);
    heal(&store, &disk);
    block_on(store.sweep(at(400))).unwrap();
    store.checkpointer.join();
    assert_eq!(store.checkpoint_figures().taken, 1);
    drop(store);
    let store = open(&disk.lose_power(), at(500));
    assert_eq!((store.restored().live, store.restored().dormant), (0, 1));
    assert!(matches!(store.renew_now("sleeper", at(500)), Renewal::Renewed { revived: true, .. }));
}

#[test]
fn heartbeats_and_reads_succeed_while_the_disk_fails() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    store.put_now(put("p", HOME, &[]), at(0));
    disk.set_sync_fails(true);
    assert!(block_on(store.remove(&id("p"), &claim(HOME, None), at(1))).is_err());
    assert!(block_on(store.health()).is_err());
    assert!(matches!(store.renew_now("p", at(2)), Renewal::Renewed { revived: false, .. }));
    assert!(matches!(store.renew_now("p", at(400)), Renewal::Renewed { revived: true, .. }));
    assert_eq!(listed(&store, &[], at(400)), ["p"]);
}

#[test]
fn a_failed_replacement_leaves_the_peer_as_it_was() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    store.put_now(put("p", HOME, &["old"]), at(0));
    // A stranger keeps the peer alive without proof, and the last page that listed the peer is old.
    store.renew_as("p", &claim("198.51.100.1", None), at(200));
    listed(&store, &["old"], at(200));
    let state = || {
        let index = store.shared.index.read();
        let number = index.find_peer(&id("p")).unwrap();
        format!("{:?}", index.unrecorded(number))
    };
    let before = state();
    for replace in [true, false] {
        disk.set_sync_fails(true);
        let here = claim(HOME, None);
        if replace {
            assert!(block_on(store.put(put("p", HOME, &["new"]), at(250))).is_err());
        } else {
            assert!(block_on(store.remove(&id("p"), &here, at(250))).is_err());
        }
        assert_eq!(state(), before);
        assert_eq!(listed(&store, &["old"], at(201)), ["p"]);
        store.check();
        heal(&store, &disk);
    }
}

#[test]
fn nothing_is_written_after_the_directory_was_moved_away_and_live_peers_are_served() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    store.put_now(put("dormant", HOME, &[]), at(0));
    store.put_now(put("live", HOME, &[]), at(300));
    disk.set_moved_away(true);
    let refusal = block_on(store.put(put("refused", HOME, &[]), at(301))).unwrap_err();
    assert!(matches!(refusal, StoreError::Unavailable { .. }), "{refusal}");
    assert_eq!(block_on(store.health()), Err(refusal));
    let revival = block_on(store.renew(&id("dormant"), &claim(HOME, None), at(301)));
    assert!(matches!(revival, Err(StoreError::Unavailable { .. })), "{revival:?}");
    assert!(matches!(store.renew_now("live", at(301)), Renewal::Renewed { .. }));
    assert_eq!(listed(&store, &[], at(301)), ["live"]);

    disk.set_moved_away(false);
    heal(&store, &disk);
    assert!(matches!(store.renew_now("dormant", at(301)), Renewal::Renewed { revived: true, .. }));
    store.put_now(put("accepted", HOME, &[]), at(301));
    drop(store);
    let store = open(&disk.lose_power(), at(302));
    assert_eq!(listed(&store, &[], at(302)), ["accepted", "dormant", "live"]);
}

#[test]
fn a_cancelled_registration_is_still_made_durable() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    let stall = disk.stall();
    drop(begin(store.put(put("p", HOME, &["a"]), at(0))));
    drop(stall);
    store.put_now(put("q", HOME, &["a"]), at(0));
    drop(store);
    let store = open(&disk.lose_power(), at(1));
    assert_eq!(listed(&store, &["a"], at(1)), ["p", "q"]);
}

#[test]
fn records_that_cannot_be_parsed_are_skipped_and_counted() {
    struct NoHooks;
    impl Hooks<()> for NoHooks {
        fn failed(&self, _: Vec<()>) {}
        fn healed(&self) {}
    }

    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    store.put_now(put("p", HOME, &[]), at(0));
    block_on(store.close()).unwrap();
    drop(store);
    let (recovered, _) = Journal::recover(Arc::new(disk.clone()), JournalOptions::default(), |_| {}).unwrap();
    let journal = recovered.start(NoHooks).unwrap();
    for garbage in [&b""[..], b"\x01", b"\xff garbage", b"\x05 not an id"] {
        block_on(journal.append(garbage, None).unwrap()).unwrap();
    }
    drop(journal);
    let store = open(&disk, at(1));
    assert_eq!((store.restored().live, store.restored().skipped_records), (1, 4));
    assert_eq!(listed(&store, &[], at(1)), ["p"]);
}

#[test]
fn a_kept_token_still_proves_the_holder_after_a_restart() {
    let disk = LossyDisk::new(1);
    let store = open(&disk, at(0));
    store.put_now(put("p", HOME, &[]), at(0));
    let mut again = put("p", AWAY, &[]);
    again.claim = claim(AWAY, Some(token(0)));
    again.new_token = token(9);
    store.put_now(again, at(1));
    drop(store);
    let store = open(&disk.lose_power(), at(2));
    let stranger = claim("203.0.113.3", Some(token(9)));
    assert!(matches!(store.remove_now("p", &stranger, at(2)), aurora_discovery_registry::Removal::Held(_)));
    let holder = claim("203.0.113.3", Some(token(0)));
    assert_eq!(
        store.remove_now("p", &holder, at(2)),
        aurora_discovery_registry::Removal::Removed { was_live: true }
    );
}
