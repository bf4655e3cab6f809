//! What the store returns and keeps while its connection to DynamoDB is faulty.
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

use proxy::{Fate, Proxy};
use support::{at, claim, fresh_table, id, listed, open, peers_of, put, query};

const HOME: &str = "203.0.113.7";

/// A bound for operations that must end at an earlier deadline, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    proxy: Proxy,
    /// Connects through the proxy.
    store: Arc<DynamoStore>,
    /// The options of the same table without the proxy.
    direct: DynamoOptions,
}

/// A store whose operations end at `deadline`, and whose single attempts do not end earlier.
async fn world(deadline: Duration) -> World {
    world_with(deadline, PATIENCE).await
}

/// A store whose attempts end after a second, with time for all of them.
async fn world_of_attempts() -> World {
    world_with(2 * PATIENCE, Duration::from_secs(1)).await
}

async fn world_with(deadline: Duration, attempt_timeout: Duration) -> World {
    let direct = fresh_table().await;
    let proxy = Proxy::before(direct.endpoint.as_deref().unwrap()).await;
    let mut options = direct.clone();
    options.endpoint = Some(proxy.endpoint.clone());
    options.deadline = deadline;
    options.attempt_timeout = attempt_timeout;
    options.snapshot_hold = Duration::ZERO;
    World { store: open(&options).await, proxy, direct }
}

impl World {
    /// Stores as in other processes: one uses snapshots, and one reads the index.
    async fn others(&self) -> [Arc<DynamoStore>; 2] {
        let mut from_index = self.direct.clone();
        from_index.snapshot_items = 0;
        [open(&self.direct).await, open(&from_index).await]
    }
}

/// Half a deadline after it, no operation may be running. Both times are timers of one runtime, so
/// a pause of the machine delays both, and an operation that ended meanwhile is seen first.
async fn within<T>(deadline: Duration, verbs: impl Future<Output = T>) -> T {
    tokio::time::timeout(deadline.mul_f64(1.5), verbs).await.expect("a verb ends at its deadline")
}

const LASTING: [Fate; 5] = [Fate::Throttle, Fate::ServerError, Fate::Reset, Fate::Stall, Fate::ResetAfter];

#[tokio::test]
async fn every_verb_is_unavailable_within_its_deadline_while_the_service_fails_and_recovers_by_itself() {
    const DEADLINE: Duration = Duration::from_secs(1);
    let world = world(DEADLINE).await;
    let store = &world.store;
    open(&world.direct).await.put(put("p", &["a", "b"], HOME, 1), at(0)).await.unwrap();
    for fate in LASTING {
        world.proxy.rule(move |_| fate);
        let peer = id("p");
        let by_claim = claim("198.51.100.1");
        let asked = query(&["a"], 20);
        let (put, renewed, removed, sampled, enumerated, counted, health) = within(DEADLINE, async {
            tokio::join!(
                store.put(put("q", &["a"], HOME, 2), at(200)),
                store.renew(&peer, at(200)),
                store.remove(&peer, &by_claim, at(200)),
                store.sample(&asked, at(200)),
                store.enumerate(&asked, None, at(200)),
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
                panic!("{fate:?}: {error}")
            };
            assert!(retry_after_seconds >= 1);
        }
        world.proxy.rule(|_| Fate::Pass);
        let recovering = Instant::now();
        let page = loop {
            match (store.health().await, store.sample(&query(&["b"], 20), at(200)).await) {
                (Ok(()), Ok(page)) => break page,
                failed => assert!(recovering.elapsed() < PATIENCE, "it recovers by itself: {failed:?}"),
            }
        };
        assert_eq!(peers_of(&page), [("p".to_owned(), 9001)]);
    }
}

#[tokio::test]
async fn what_fails_now_and_then_is_tried_again() {
    for fate in [Fate::Throttle, Fate::ServerError, Fate::Reset, Fate::ResetAfter, Fate::Stall] {
        let world = world_of_attempts().await;
        world.store.put(put("before", &["a"], HOME, 1), at(0)).await.unwrap();
        let mut calls = 0;
        world.proxy.rule(move |_| {
            calls += 1;
            if calls % 2 == 1 { fate } else { Fate::Pass }
        });
        let placed = world.store.put(put("p", &["a", "b"], HOME, 2), at(1)).await;
        assert_eq!(placed, Ok(PutResult::Stored { token_kept: false }), "{fate:?}");
        let renewed = world.store.renew(&id("p"), at(200)).await;
        assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{fate:?}: {renewed:?}");
        let both = [("before".to_owned(), 9001), ("p".to_owned(), 9002)];
        assert_eq!(listed(&world.store, &["a"], at(201)).await, both, "{fate:?}");
        world.proxy.rule(|_| Fate::Pass);
        for other in world.others().await {
            assert_eq!(listed(&other, &["a"], at(201)).await, both);
            assert_eq!(listed(&other, &["b"], at(201)).await, both[1..]);
        }
    }
}

#[tokio::test]
async fn what_a_batch_leaves_unprocessed_is_followed() {
    let world = world(2 * PATIENCE).await;
    world.proxy.rule(|_| Fate::Half);
    let archetypes: Vec<String> = (0..32).map(|n| format!("a{n}")).collect();
    let archetypes: Vec<&str> = archetypes.iter().map(String::as_str).collect();
    for name in ["p", "q", "r", "s", "t"] {
        world.store.put(put(name, &archetypes, HOME, 1), at(0)).await.unwrap();
    }
    let mut from_index = world.direct.clone();
    from_index.snapshot_items = 0;
    from_index.endpoint = Some(world.proxy.endpoint.clone());
    let reader = open(&from_index).await;
    world.proxy.take_calls();
    for archetype in ["a0", "a13", "a31"] {
        assert_eq!(listed(&reader, &[archetype], at(1)).await.len(), 5);
    }
    let batches = world.proxy.take_calls().iter().filter(|call| *call == "BatchGetItem").count();
    assert!(batches > 3, "the rest was asked for again: {batches}");
}

/// The time without progress after which a process counts as crashed. If it would have progressed,
/// this is one more crash.
const CRASH: Duration = Duration::from_millis(1_500);

/// Each write of an operation is once the last one that a process makes, and once the first one
/// that it does not make.
#[tokio::test]
async fn a_crash_between_any_two_writes_leaves_no_peer_unlisted_and_no_orphan_listed() {
    let (old, new) = (put("p", &["a", "b"], HOME, 1), put("p", &["b", "c"], HOME, 2));
    for crash in [Fate::Stall, Fate::StallAfter] {
        for write in 1.. {
            let world = world(CRASH).await;
            open(&world.direct).await.put(old.clone(), at(0)).await.unwrap();
            crash_at(&world, write, crash);
            let outcome = world.store.put(new.clone(), at(1)).await;
            let finished = outcome.is_ok() && !crashed(&world, write);
            for other in world.others().await {
                let everybody = listed(&other, &[], at(2)).await;
                let whole = everybody[0].1;
                assert!([9001, 9002].contains(&whole), "{crash:?} at {write}: {everybody:?}");
                assert!(outcome.is_err() || whole == 9002, "what was acknowledged is there");
                let carried = if whole == 9001 { ["a", "b"] } else { ["b", "c"] };
                for archetype in ["a", "b", "c"] {
                    let found = listed(&other, &[archetype], at(2)).await;
                    assert_eq!(
                        found.len() == 1,
                        carried.contains(&archetype),
                        "{crash:?} at {write}: {archetype}"
                    );
                }
            }
            if finished {
                assert!(write > 2, "a registration is several writes");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_between_any_two_writes_of_a_deregistration_or_a_revival_leaves_all_or_nothing() {
    for crash in [Fate::Stall, Fate::StallAfter] {
        for write in 1.. {
            let world = world(CRASH).await;
            let before = open(&world.direct).await;
            before.put(put("leaving", &["a", "b"], HOME, 1), at(0)).await.unwrap();
            before.put(put("away", &["a", "b"], HOME, 1), at(0)).await.unwrap();
            // After a day its markers are renewed together with the lease.
            let day = 86_000;
            crash_at(&world, write, crash);
            let removed = world.store.remove(&id("leaving"), &claim(HOME), at(1)).await;
            let revived = world.store.renew(&id("away"), at(day)).await;
            let finished = !crashed(&world, write);
            for other in world.others().await {
                let left =
                    listed(&other, &[], at(2)).await.iter().filter(|(name, _)| name == "leaving").count();
                for archetype in ["a", "b"] {
                    let found = listed(&other, &[archetype], at(2)).await;
                    assert_eq!(found.iter().filter(|(name, _)| name == "leaving").count(), left);
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

/// From the `n`th write on there are no responses, as if the process had crashed.
fn crash_at(world: &World, n: usize, crash: Fate) {
    world.proxy.take_calls();
    let mut writes = 0;
    world.proxy.rule(move |call| {
        writes += usize::from(call.writes());
        match writes {
            gone if gone > n => Fate::Stall,
            gone if gone == n && call.writes() => crash,
            gone if gone == n => Fate::Stall,
            _ => Fate::Pass,
        }
    });
}

/// Whether the operations reached the `n`th write, at which the crash occurs.
fn crashed(world: &World, n: usize) -> bool {
    let writes = world
        .proxy
        .take_calls()
        .iter()
        .filter(|call| ["PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"].contains(&call.as_str()))
        .count();
    writes >= n
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_while_one_call_in_five_fails() {
    let world = world_of_attempts().await;
    let mut random = fastrand::Rng::with_seed(7);
    world.proxy.rule(move |_| match random.u8(..25) {
        0 => Fate::Throttle,
        1 => Fate::ServerError,
        2 => Fate::Reset,
        3 => Fate::ResetAfter,
        4 => Fate::Half,
        _ => Fate::Pass,
    });
    let mut random = fastrand::Rng::with_seed(8);
    // Each peer's last acknowledged registration, and the changes that may have happened since.
    let mut known: HashMap<String, Vec<Option<u16>>> = HashMap::new();
    for step in 0..300_u64 {
        let name = format!("p{}", random.u8(..12));
        let possible = known.entry(name.clone()).or_insert_with(|| vec![None]);
        if random.u8(..3) > 0 {
            let token = random.u8(..);
            let port = Some(9000 + u16::from(token));
            match world.store.put(put(&name, &["a"], HOME, token), at(0)).await {
                Ok(PutResult::Stored { .. }) => *possible = vec![port],
                Ok(refused) => panic!("step {step}: {refused:?}"),
                Err(StoreError::Unavailable { .. }) => possible.push(port),
                Err(error) => panic!("step {step}: {error}"),
            }
        } else {
            match world.store.remove(&id(&name), &claim(HOME), at(0)).await {
                Ok(_) => *possible = vec![None],
                Err(StoreError::Unavailable { .. }) => possible.push(None),
                Err(error) => panic!("step {step}: {error}"),
            }
        }
    }
    world.proxy.rule(|_| Fate::Pass);
    for other in world.others().await {
        let found: HashMap<_, _> = listed(&other, &["a"], at(1)).await.into_iter().collect();
        for (name, possible) in &known {
            assert!(possible.contains(&found.get(name).copied()), "{name}: {possible:?}, {found:?}");
        }
    }
}

#[tokio::test]
async fn an_index_that_lags_breaks_nothing() {
    let world = world(2 * PATIENCE).await;
    let mut from_index = world.direct.clone();
    from_index.snapshot_items = 0;
    from_index.endpoint = Some(world.proxy.endpoint.clone());
    let (store, other) = (open(&from_index).await, open(&from_index).await);
    for name in ["stays", "leaves", "changes"] {
        store.put(put(name, &["a", "b"], HOME, 1), at(0)).await.unwrap();
    }
    world.proxy.freeze_index(&from_index.table).await;
    store.remove(&id("leaves"), &claim(HOME), at(1)).await.unwrap();
    store.put(put("changes", &["a", "c"], HOME, 2), at(1)).await.unwrap();
    store.put(put("comes", &["a", "c"], HOME, 3), at(1)).await.unwrap();
    let names = async |store: &DynamoStore, archetype: &str| {
        let found = listed(store, &[archetype], at(2)).await;
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    // The process that wrote reads its own writes at once. Other processes do not list peers that
    // left or changed, and list newcomers when the index has them.
    assert_eq!(names(&store, "a").await, ["changes", "comes", "stays"]);
    assert_eq!(names(&store, "b").await, ["stays"]);
    assert_eq!(names(&store, "c").await, ["changes", "comes"]);
    assert_eq!(names(&other, "a").await, ["changes", "stays"]);
    assert_eq!(names(&other, "b").await, ["stays"]);
    assert_eq!(names(&other, "c").await, [""; 0]);
    world.proxy.thaw_index();
    assert_eq!(names(&other, "a").await, ["changes", "comes", "stays"]);
    assert_eq!(names(&other, "c").await, ["changes", "comes"]);
}

#[tokio::test]
async fn of_many_heartbeats_those_that_the_table_takes_are_renewed_whatever_becomes_of_the_rest() {
    const DEADLINE: Duration = Duration::from_secs(5);
    let world = world(DEADLINE).await;
    let ids: Vec<_> = (0..12).map(|n| id(&format!("p{n}"))).collect();
    let direct = open(&world.direct).await;
    for n in 0..12 {
        direct.put(put(&format!("p{n}"), &[], HOME, n), at(0)).await.unwrap();
    }
    world.proxy.take_calls();
    world.proxy.rule(|call| {
        let stuck = call.action == "UpdateItem" && call.body["Key"]["peer_id"]["S"] == "p5";
        if stuck { Fate::Stall } else { Fate::Pass }
    });
    let renewals = within(DEADLINE, world.store.renew_many(&ids, at(200))).await;
    for (n, renewal) in renewals.iter().enumerate() {
        let renewed = matches!(renewal, Ok(Renewal::Renewed { revived: false, .. }));
        let unavailable = matches!(renewal, Err(StoreError::Unavailable { .. }));
        assert!(if n == 5 { unavailable } else { renewed }, "{n}: {renewal:?}");
    }
    let calls = world.proxy.take_calls();
    let count = |name: &str| calls.iter().filter(|action| *action == name).count();
    // The only item that is read individually is the table's secret.
    assert_eq!((count("BatchGetItem"), count("GetItem")), (1, 1), "{calls:?}");
}
