//! Tests in which threads call the operations of a store concurrently. Afterwards, the invariants
//! of the index must hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use aurora_discovery_protocol::{Timestamp, Ttl};
use aurora_discovery_registry::{Limits, PutRequest, PutResult, Store};
use fastrand::Rng;

use super::fixture::{at, block_on, claim, ids, put, query};
use crate::disk::LossyDisk;
use crate::{EmbeddedOptions, EmbeddedStore};

const THREADS: u64 = 4;
const PEERS: u32 = 200;
const SOURCES: [&str; 3] = ["203.0.113.1", "198.51.100.2", "127.0.0.1"];

/// Performs a random operation. All threads share a clock that advances with each operation.
fn random_operation(store: &EmbeddedStore, rng: &mut Rng, clock: &AtomicU64) {
    let now = at(0).plus_millis(clock.fetch_add(rng.u64(..200), Ordering::Relaxed));
    let peer = rng.u32(..PEERS).to_string();
    let source = SOURCES[rng.usize(..SOURCES.len())];
    match rng.u32(..10) {
        0..3 => {
            let put = put(&peer, source, &["all", &format!("a{}", rng.u32(..50))]);
            // The lease lasts about as long as the interval between two operations on the same peer
            // in this test, so that many leases end.
            store.put_now(PutRequest { ttl: Ttl::from_secs(30), ..put }, now);
        }
        3..6 => drop(store.renew_as(&peer, &claim(source, None), now)),
        6 => drop(store.remove_now(&peer, &claim(source, None), now)),
        7 => drop(ids(&block_on(store.sample(&query(&["all", "a7"], 20), now)).unwrap())),
        8 => drop(block_on(store.enumerate(&query(&["a7", "a8"], 20), None, now)).unwrap()),
        _ => drop(block_on(store.sweep(now)).unwrap()),
    }
}

/// Runs the threads while `meanwhile` runs. Returns the time at which they ended.
fn run_threads(store: &EmbeddedStore, steps: u32, meanwhile: impl FnOnce()) -> Timestamp {
    let clock = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let clock = &clock;
            scope.spawn(move || {
                let mut rng = Rng::with_seed(seed);
                for _ in 0..steps {
                    random_operation(store, &mut rng, clock);
                }
            });
        }
        meanwhile();
    });
    at(0).plus_millis(clock.into_inner())
}

#[test]
fn concurrent_operations_preserve_the_invariants_of_the_index() {
    let store = EmbeddedStore::in_memory(Limits { revival_window_millis: 60_000, ..Limits::default() });
    run_threads(&store, 10_000, || {});
    store.check();
    let counts = store.shared.index.read().counts();
    assert!(counts.expired > 0 && counts.revived > 0 && counts.evicted_due > 0, "{counts:?}");
}

#[test]
fn checkpoints_under_concurrent_changes_restore_the_final_state() {
    let disk = Arc::new(LossyDisk::new(3));
    let open = |disk: &Arc<LossyDisk>, now| {
        EmbeddedStore::open_on(disk.clone(), EmbeddedOptions::default(), now).unwrap()
    };
    let store = open(&disk, at(0));
    let now = run_threads(&store, 1_000, || {
        // Waits for the first peer. Otherwise all checkpoints could be over before it registers.
        while block_on(store.census(0, at(0))).unwrap().live == 0 {
            thread::yield_now();
        }
        for _ in 0..5 {
            store.checkpoint().unwrap();
        }
    });
    block_on(store.sweep(now)).unwrap();
    let all_peers = |store: &EmbeddedStore| ids(&block_on(store.sample(&query(&[], 1_000), now)).unwrap());
    let census = |store: &EmbeddedStore| {
        let mut census = block_on(store.census(100, now)).unwrap();
        census.by_archetype.sort();
        census
    };
    let expected = (all_peers(&store), census(&store));
    block_on(store.close()).unwrap();

    let store = open(&Arc::new(disk.lose_power()), now);
    assert!(store.restored().journal.checkpoint_records > 0);
    assert_eq!((all_peers(&store), census(&store)), expected);
    store.check();
}

#[test]
fn concurrent_newcomers_never_exceed_the_limit_of_peers() {
    let store = EmbeddedStore::in_memory(Limits { max_peers: 100, ..Limits::default() });
    let placed = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, placed) = (&store, &placed);
            scope.spawn(move || {
                for n in 0..100 {
                    let placement = store.put_now(put(&format!("{thread}-{n}"), "127.0.0.1", &[]), at(0));
                    let is_placed = matches!(placement, PutResult::Stored { .. });
                    placed.fetch_add(u64::from(is_placed), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(placed.into_inner(), 100);
    store.check();
}
