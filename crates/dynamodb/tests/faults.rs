//! Tests of what the store returns, and what the table keeps, while calls of DynamoDB fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/stand_in.rs"]
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore};
use aurora_discovery_registry::{PutResult, Removal, Renewal, Store, StoreError};

use proxy::{Fault, Proxy};
use support::{at, claim, fresh_table, id, listed, open, peers_of, put, query};

/// The source of the peers' holder.
const HOLDER: &str = "203.0.113.7";

/// A timeout that no operation or attempt exceeds, even on a busy machine.
const LONG_TIMEOUT: Duration = Duration::from_secs(30);

struct Setup {
    proxy: Proxy,
    /// A store that calls DynamoDB through the proxy.
    store: Arc<DynamoStore>,
    /// The options of the same table without the proxy.
    direct: DynamoOptions,
}

/// A store whose operations end at `deadline`. The timeout of an attempt is longer, so it does not
/// end an attempt earlier.
async fn setup(deadline: Duration) -> Setup {
    setup_with(deadline, LONG_TIMEOUT).await
}

/// A store whose attempts end after a second. The deadline leaves time for all attempts of an
/// operation.
async fn setup_with_short_attempts() -> Setup {
    setup_with(2 * LONG_TIMEOUT, Duration::from_secs(1)).await
}

async fn setup_with(deadline: Duration, attempt_timeout: Duration) -> Setup {
    let direct = fresh_table().await;
    let proxy = Proxy::in_front_of(direct.endpoint.as_deref().unwrap()).await;
    let mut options = direct.clone();
    options.endpoint = Some(proxy.endpoint.clone());
    options.deadline = deadline;
    options.attempt_timeout = attempt_timeout;
    options.snapshot_hold = Duration::ZERO;
    Setup { store: open(&options).await, proxy, direct }
}

impl Setup {
    /// Stores like those of other processes, without the proxy: one uses snapshots, and one reads
    /// the index.
    async fn others(&self) -> [Arc<DynamoStore>; 2] {
        let mut from_index = self.direct.clone();
        from_index.snapshot_items = 0;
        [open(&self.direct).await, open(&from_index).await]
    }
}

/// Runs operations, and panics if they are still running after one and a half times their deadline.
/// Both times are timers of one runtime, so a pause of the machine delays both. When the later
/// timer fires, the runtime first polls the operations, so the test does not fail if they have
/// ended meanwhile.
async fn within<T>(deadline: Duration, operations: impl Future<Output = T>) -> T {
    tokio::time::timeout(deadline.mul_f64(1.5), operations).await.expect("an operation ends at its deadline")
}

const LASTING: [Fault; 5] =
    [Fault::Throttle, Fault::ServerError, Fault::Reset, Fault::Stall, Fault::ResetAfter];

#[tokio::test]
async fn every_operation_is_unavailable_within_its_deadline_during_an_outage_and_works_again_afterwards() {
    const DEADLINE: Duration = Duration::from_secs(1);
    let setup = setup(DEADLINE).await;
    let store = &setup.store;
    open(&setup.direct).await.put(put("p", &["a", "b"], HOLDER, 1), at(0)).await.unwrap();
    for fault in LASTING {
        setup.proxy.rule(move |_| fault);
        let peer = id("p");
        let (holder, by_claim) = (claim(HOLDER), claim("198.51.100.1"));
        let by_archetype = query(&["a"], 20);
        let (put, renewed, removed, sampled, enumerated, counted, health) = within(DEADLINE, async {
            tokio::join!(
                store.put(put("q", &["a"], HOLDER, 2), at(200)),
                store.renew(&peer, &holder, at(200)),
                store.remove(&peer, &by_claim, at(200)),
                store.sample(&by_archetype, at(200)),
                store.enumerate(&by_archetype, None, at(200)),
                store.census(10, at(200)),
                store.health(),
            )
        })
        .await;
        for error in [
            put.unwrap_err(),
            renewed.unwrap_err(),
            removed.unwrap_err(),
            sampled.unwrap_err(),
            enumerated.unwrap_err(),
            counted.unwrap_err(),
            health.unwrap_err(),
        ] {
            let StoreError::Unavailable { retry_after_seconds, .. } = error else {
                panic!("{fault:?}: {error}")
            };
            assert!(retry_after_seconds >= 1);
        }
        setup.proxy.rule(|_| Fault::None);
        let recovering = Instant::now();
        let page = loop {
            match (store.health().await, store.sample(&query(&["b"], 20), at(200)).await) {
                (Ok(()), Ok(page)) => break page,
                failed => {
                    assert!(recovering.elapsed() < LONG_TIMEOUT, "the store has not recovered: {failed:?}");
                }
            }
        };
        assert_eq!(peers_of(&page), [("p".to_owned(), 9001)]);
    }
}

#[tokio::test]
async fn operations_succeed_while_every_other_call_fails() {
    for fault in [Fault::Throttle, Fault::ServerError, Fault::Reset, Fault::ResetAfter, Fault::Stall] {
        let setup = setup_with_short_attempts().await;
        setup.store.put(put("before", &["a"], HOLDER, 1), at(0)).await.unwrap();
        let mut calls = 0;
        setup.proxy.rule(move |_| {
            calls += 1;
            if calls % 2 == 1 { fault } else { Fault::None }
        });
        let placed = setup.store.put(put("p", &["a", "b"], HOLDER, 2), at(1)).await;
        assert_eq!(placed, Ok(PutResult::Stored { token_kept: false }), "{fault:?}");
        let renewed = setup.store.renew(&id("p"), &claim(HOLDER), at(200)).await;
        assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{fault:?}: {renewed:?}");
        let both = [("before".to_owned(), 9001), ("p".to_owned(), 9002)];
        assert_eq!(listed(&setup.store, &["a"], at(201)).await, both, "{fault:?}");
        for other in setup.others().await {
            assert_eq!(listed(&other, &["a"], at(201)).await, both);
            assert_eq!(listed(&other, &["b"], at(201)).await, both[1..]);
        }
        let removed = setup.store.remove(&id("p"), &claim(HOLDER), at(202)).await;
        assert_eq!(removed, Ok(Removal::Removed { was_live: true }), "{fault:?}");
        for other in setup.others().await {
            assert_eq!(listed(&other, &["b"], at(203)).await, []);
        }
    }
}

#[tokio::test]
async fn unprocessed_parts_of_a_batch_are_retried() {
    let setup = setup(2 * LONG_TIMEOUT).await;
    setup.proxy.rule(|_| Fault::PartialBatch);
    let archetypes: Vec<String> = (0..32).map(|n| format!("a{n}")).collect();
    let archetypes: Vec<&str> = archetypes.iter().map(String::as_str).collect();
    for name in ["p", "q", "r", "s", "t"] {
        setup.store.put(put(name, &archetypes, HOLDER, 1), at(0)).await.unwrap();
    }
    let mut from_index = setup.direct.clone();
    from_index.snapshot_items = 0;
    from_index.endpoint = Some(setup.proxy.endpoint.clone());
    let reader = open(&from_index).await;
    setup.proxy.take_calls();
    for archetype in ["a0", "a13", "a31"] {
        assert_eq!(listed(&reader, &[archetype], at(1)).await.len(), 5);
    }
    let batches = setup.proxy.take_calls().iter().filter(|call| *call == "BatchGetItem").count();
    assert!(batches > 3, "the unprocessed keys were not requested again: {batches}");
}

/// The deadline of the operations. After a crash no call gets a response, so an operation ends at
/// its deadline. If a slow machine delays an operation beyond its deadline, the effect is that of a
/// crash, which the test permits.
const CRASH: Duration = Duration::from_millis(1_500);

/// The process crashes at each write of the operation in turn: once just before DynamoDB makes the
/// write, and once just after it.
#[tokio::test]
async fn a_crash_during_a_registration_leaves_the_old_or_the_new_one_complete() {
    let (old, new) = (put("p", &["a", "b"], HOLDER, 1), put("p", &["b", "c"], HOLDER, 2));
    for crash in [Fault::Stall, Fault::StallAfter] {
        for write in 1.. {
            let setup = setup(CRASH).await;
            open(&setup.direct).await.put(old.clone(), at(0)).await.unwrap();
            crash_at(&setup, write, crash);
            let outcome = setup.store.put(new.clone(), at(1)).await;
            let finished = outcome.is_ok() && !crashed(&setup, write);
            for other in setup.others().await {
                let all = listed(&other, &[], at(2)).await;
                let port = all[0].1;
                assert!([9001, 9002].contains(&port), "{crash:?} at {write}: {all:?}");
                assert!(outcome.is_err() || port == 9002, "the acknowledged registration is missing");
                let expected = if port == 9001 { ["a", "b"] } else { ["b", "c"] };
                for archetype in ["a", "b", "c"] {
                    let found = listed(&other, &[archetype], at(2)).await;
                    assert_eq!(
                        found.len() == 1,
                        expected.contains(&archetype),
                        "{crash:?} at {write}: {archetype}"
                    );
                }
            }
            if finished {
                assert!(write > 2, "a registration must take several writes");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_during_a_deregistration_or_a_revival_leaves_all_or_nothing() {
    for crash in [Fault::Stall, Fault::StallAfter] {
        for write in 1.. {
            let setup = setup(CRASH).await;
            let before = open(&setup.direct).await;
            before.put(put("deregistered", &["a", "b"], HOLDER, 1), at(0)).await.unwrap();
            before.put(put("dormant", &["a", "b"], HOLDER, 1), at(0)).await.unwrap();
            // Almost a day later, the peer is dormant and can still be revived.
            let day = 86_000;
            crash_at(&setup, write, crash);
            let removed = setup.store.remove(&id("deregistered"), &claim(HOLDER), at(1)).await;
            let revived = setup.store.renew(&id("dormant"), &claim(HOLDER), at(day)).await;
            let finished = !crashed(&setup, write);
            for other in setup.others().await {
                let left = listed(&other, &[], at(2))
                    .await
                    .iter()
                    .filter(|(name, _)| name == "deregistered")
                    .count();
                for archetype in ["a", "b"] {
                    let found = listed(&other, &[archetype], at(2)).await;
                    assert_eq!(found.iter().filter(|(name, _)| name == "deregistered").count(), left);
                    let back = listed(&other, &[archetype], at(day + 1)).await.len();
                    assert_eq!(back, listed(&other, &[], at(day + 1)).await.len(), "{crash:?} at {write}");
                    assert!(revived.is_err() || back == 1);
                }
                assert!(!matches!(removed, Ok(Removal::Removed { .. })) || left == 0);
            }
            if finished {
                break;
            }
        }
    }
}

/// From the `n`th write on, no call gets a response, as if the process had crashed. `crash` decides
/// whether DynamoDB still makes the `n`th write.
fn crash_at(setup: &Setup, n: usize, crash: Fault) {
    setup.proxy.take_calls();
    let mut writes = 0;
    setup.proxy.rule(move |call| {
        writes += usize::from(call.writes());
        match writes {
            count if count > n => Fault::Stall,
            count if count == n && call.writes() => crash,
            count if count == n => Fault::Stall,
            _ => Fault::None,
        }
    });
}

/// Whether the operations reached the `n`th write, at which the crash occurs.
fn crashed(setup: &Setup, n: usize) -> bool {
    let writes = setup
        .proxy
        .take_calls()
        .iter()
        .filter(|call| ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"].contains(&call.as_str()))
        .count();
    writes >= n
}

#[tokio::test]
async fn no_acknowledged_change_is_lost_while_one_call_in_five_fails() {
    let setup = setup_with_short_attempts().await;
    let mut random = fastrand::Rng::with_seed(7);
    setup.proxy.rule(move |_| match random.u8(..25) {
        0 => Fault::Throttle,
        1 => Fault::ServerError,
        2 => Fault::Reset,
        3 => Fault::ResetAfter,
        4 => Fault::PartialBatch,
        _ => Fault::None,
    });
    let mut random = fastrand::Rng::with_seed(8);
    // The states in which each peer may be: the last acknowledged one, and those of later changes
    // that failed but may have been made. A state is the port of the registration, or `None`.
    let mut known: HashMap<String, Vec<Option<u16>>> = HashMap::new();
    for step in 0..300_u64 {
        let name = format!("p{}", random.u8(..12));
        let possible = known.entry(name.clone()).or_insert_with(|| vec![None]);
        if random.u8(..3) > 0 {
            let token = random.u8(..);
            let port = Some(9000 + u16::from(token));
            match setup.store.put(put(&name, &["a"], HOLDER, token), at(0)).await {
                Ok(PutResult::Stored { .. }) => *possible = vec![port],
                Ok(refused) => panic!("step {step}: {refused:?}"),
                Err(StoreError::Unavailable { .. }) => possible.push(port),
                Err(error) => panic!("step {step}: {error}"),
            }
        } else {
            match setup.store.remove(&id(&name), &claim(HOLDER), at(0)).await {
                Ok(_) => *possible = vec![None],
                Err(StoreError::Unavailable { .. }) => possible.push(None),
                Err(error) => panic!("step {step}: {error}"),
            }
        }
    }
    setup.proxy.rule(|_| Fault::None);
    for other in setup.others().await {
        let found: HashMap<_, _> = listed(&other, &["a"], at(1)).await.into_iter().collect();
        for (name, possible) in &known {
            assert!(possible.contains(&found.get(name).copied()), "{name}: {possible:?}, {found:?}");
        }
    }
}

#[tokio::test]
async fn a_lagging_index_never_lists_removed_peers_and_a_process_reads_its_own_writes() {
    let setup = setup(2 * LONG_TIMEOUT).await;
    let mut from_index = setup.direct.clone();
    from_index.snapshot_items = 0;
    from_index.endpoint = Some(setup.proxy.endpoint.clone());
    let (store, other) = (open(&from_index).await, open(&from_index).await);
    for name in ["unchanged", "removed", "replaced"] {
        store.put(put(name, &["a", "b"], HOLDER, 1), at(0)).await.unwrap();
    }
    setup.proxy.freeze_index(&from_index.table).await;
    store.remove(&id("removed"), &claim(HOLDER), at(1)).await.unwrap();
    store.put(put("replaced", &["a", "c"], HOLDER, 2), at(1)).await.unwrap();
    store.put(put("new", &["a", "c"], HOLDER, 3), at(1)).await.unwrap();
    let names = async |store: &DynamoStore, archetype: &str| {
        let found = listed(store, &[archetype], at(2)).await;
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    // The process that made the changes reads its own writes at once. Another process does not list
    // peers that have left or no longer have the archetype, and lists new peers once the index has
    // them.
    assert_eq!(names(&store, "a").await, ["new", "replaced", "unchanged"]);
    assert_eq!(names(&store, "b").await, ["unchanged"]);
    assert_eq!(names(&store, "c").await, ["new", "replaced"]);
    assert_eq!(names(&other, "a").await, ["replaced", "unchanged"]);
    assert_eq!(names(&other, "b").await, ["unchanged"]);
    assert_eq!(names(&other, "c").await, [""; 0]);
    setup.proxy.thaw_index();
    assert_eq!(names(&other, "a").await, ["new", "replaced", "unchanged"]);
    assert_eq!(names(&other, "c").await, ["new", "replaced"]);
}

#[tokio::test]
async fn a_failed_renewal_does_not_affect_the_other_renewals_of_a_batch() {
    const DEADLINE: Duration = Duration::from_secs(20);
    let setup = setup(DEADLINE).await;
    let peers: Vec<_> = (0..12).map(|n| (id(&format!("p{n}")), claim(HOLDER))).collect();
    let direct = open(&setup.direct).await;
    for n in 0..12 {
        direct.put(put(&format!("p{n}"), &[], HOLDER, n), at(0)).await.unwrap();
    }
    setup.proxy.take_calls();
    setup.proxy.rule(|call| {
        let stuck = call.action == "UpdateItem" && call.body["Key"]["peer_id"]["S"] == "p5";
        if stuck { Fault::Stall } else { Fault::None }
    });
    let renewals = within(DEADLINE, setup.store.renew_many(&peers, at(200))).await;
    for (n, renewal) in renewals.iter().enumerate() {
        let renewed = matches!(renewal, Ok(Renewal::Renewed { revived: false, .. }));
        let unavailable = matches!(renewal, Err(StoreError::Unavailable { .. }));
        assert!(if n == 5 { unavailable } else { renewed }, "{n}: {renewal:?}");
    }
    let calls = setup.proxy.take_calls();
    let count = |name: &str| calls.iter().filter(|action| *action == name).count();
    // Only the item with the table's secret is read individually.
    assert_eq!((count("BatchGetItem"), count("GetItem")), (1, 1), "{calls:?}");
}
