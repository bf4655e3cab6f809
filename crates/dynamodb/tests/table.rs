//! Tests with several processes that share a table, with malformed items, and with large networks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/stand_in.rs"]
mod support;

use std::collections::HashMap;
use std::process::Stdio;

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore, connect, create_table};
use aurora_discovery_registry::{
    Enumeration, ExceededLimit, Limits, MetricValue, PutResult, Query, Removal, Renewal, Store, Total,
};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveStatus};

use support::{at, claim, fresh_table, id, listed, open, open_within, peers_of, put, query};

const HOLDER: &str = "203.0.113.7";

async fn from_index(options: &DynamoOptions) -> std::sync::Arc<DynamoStore> {
    let mut options = options.clone();
    options.snapshot_items = 0;
    open(&options).await
}

#[tokio::test]
async fn creating_a_table_again_does_not_change_it() {
    let options = fresh_table().await;
    let client = connect(&options).await.unwrap();
    for time_to_live in [false, true, true] {
        create_table(&client, &options.table, time_to_live).await.unwrap();
    }
    let described = client.describe_time_to_live().table_name(&options.table).send().await.unwrap();
    let status = described.time_to_live_description.unwrap().time_to_live_status.unwrap();
    assert_eq!(status, TimeToLiveStatus::Enabled);
}

#[tokio::test]
async fn processes_that_share_a_table_list_renew_and_deregister_each_others_peers() {
    let options = fresh_table().await;
    let (one, two) = (open(&options).await, from_index(&options).await);
    one.put(put("p", &["a"], HOLDER, 1), at(0)).await.unwrap();
    assert_eq!(listed(&two, &["a"], at(1)).await, [("p".to_owned(), 9001)]);
    assert!(matches!(
        two.renew(&id("p"), &claim(HOLDER), at(299)).await,
        Ok(Renewal::Renewed { revived: false, .. })
    ));
    assert_eq!(listed(&one, &["a"], at(301)).await.len(), 1);
    let stranger = two.put(put("p", &["b"], "198.51.100.1", 2), at(302)).await.unwrap();
    assert!(matches!(stranger, PutResult::Held { .. }));
    assert_eq!(two.remove(&id("p"), &claim(HOLDER), at(303)).await, Ok(Removal::Removed { was_live: true }));
    assert_eq!(one.renew(&id("p"), &claim(HOLDER), at(304)).await, Ok(Renewal::Unknown));
}

#[tokio::test]
async fn a_malformed_item_is_skipped_and_counted_and_can_be_replaced() {
    let options = fresh_table().await;
    let (store, index) = (open(&options).await, from_index(&options).await);
    store.put(put("good", &["a"], HOLDER, 1), at(0)).await.unwrap();
    let client = connect(&options).await.unwrap();
    for (key, lane) in [("bad", "#0"), (" a bad", "a#0"), (" ", "a#0"), (" a ", "a#0"), ("bad2", "#0")] {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let odd =
            AttributeValue::L(vec![AttributeValue::Bool(true), AttributeValue::Ns(vec!["1".to_owned()])]);
        let put = client
            .put_item()
            .table_name(&options.table)
            .item("peer_id", text(key))
            .item("lane", text(lane))
            .item("h", AttributeValue::B(Blob::new([7; 8])))
            .item("reg", text("{\"address\":"))
            .item("odd", AttributeValue::M([("a".to_owned(), odd)].into()));
        put.send().await.unwrap();
    }
    for reader in [&store, &index] {
        // The store with snapshots is opened again, so that it has no earlier snapshot.
        let reader =
            if std::sync::Arc::ptr_eq(reader, &store) { open(&options).await } else { reader.clone() };
        assert_eq!(listed(&reader, &["a"], at(1)).await, [("good".to_owned(), 9001)]);
        assert_eq!(listed(&reader, &[], at(1)).await, [("good".to_owned(), 9001)]);
        assert!(figure(&reader, "dynamodb_unreadable_items_total") > 0);
    }
    assert_eq!(store.renew(&id("bad"), &claim(HOLDER), at(1)).await, Ok(Renewal::Unknown));
    assert_eq!(store.remove(&id("bad"), &claim(HOLDER), at(1)).await, Ok(Removal::Unknown));
    let placed = store.put(put("bad", &["a"], HOLDER, 2), at(1)).await;
    assert_eq!(placed, Ok(PutResult::Stored { token_kept: false }));
    let both = [("bad".to_owned(), 9002), ("good".to_owned(), 9001)];
    assert_eq!(listed(&index, &["a"], at(2)).await, both);
}

fn figure(store: &DynamoStore, name: &str) -> u64 {
    let figures = store.metrics();
    match figures.iter().find(|figure| figure.name == name).unwrap().value {
        MetricValue::Counter(count) => count,
        _ => panic!("{name} is not a counter"),
    }
}

#[tokio::test]
async fn stores_that_start_concurrently_agree_on_the_tables_secret() {
    let options = fresh_table().await;
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(from_index(&options).await);
    }
    let puts = stores.iter().enumerate().map(|(n, store)| {
        let n = u8::try_from(n).unwrap();
        store.put(put(&format!("p{n}"), &["a"], HOLDER, n), at(0))
    });
    futures_util::future::try_join_all(puts).await.unwrap();
    for store in &stores {
        assert_eq!(listed(store, &["a"], at(0)).await.len(), 8);
        // Each page of the enumeration comes from another store. The enumeration is complete only
        // if the stores agree on the positions of all peers.
        let mut all = Vec::new();
        let mut after = None;
        for other in stores.iter().cycle().take(100) {
            let Enumeration::Page(page, next) =
                other.enumerate(&query(&["a"], 3), after.as_ref(), at(0)).await.unwrap()
            else {
                panic!("the cursor is valid")
            };
            all.extend(peers_of(&page));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all.len(), 8);
    }
}

#[tokio::test]
async fn long_dormant_peers_are_removed_from_the_index_until_they_are_revived() {
    let options = fresh_table().await;
    let store = from_index(&options).await;
    for n in 0..40 {
        store.put(put(&format!("dormant{n}"), &["a", "b"], HOLDER, 1), at(0)).await.unwrap();
    }
    store.put(put("live", &["a", "b"], HOLDER, 2), at(2_000)).await.unwrap();
    let reader = from_index(&options).await;
    assert_eq!(listed(&reader, &[], at(2_001)).await.len(), 1);
    for _ in 0..3 {
        reader.sweep(at(2_001)).await.unwrap();
    }
    assert_eq!(figure(&reader, "dynamodb_delisted_peers_total"), 40);
    let fresh = from_index(&options).await;
    for archetypes in [&[][..], &["a"], &["b"]] {
        assert_eq!(listed(&fresh, archetypes, at(2_002)).await, [("live".to_owned(), 9002)]);
    }
    assert_eq!(figure(&fresh, "dynamodb_stale_entries_total"), 0, "the index must not list dormant peers");
    let renewed = fresh.renew(&id("dormant7"), &claim(HOLDER), at(2_003)).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { revived: true, .. })));
    // Another dormant peer registers again, through another store.
    store.put(put("dormant8", &["b"], "198.51.100.1", 3), at(2_003)).await.unwrap();
    let other = from_index(&options).await;
    assert_eq!(listed(&other, &["a"], at(2_004)).await.len(), 2);
    assert_eq!(listed(&other, &["b"], at(2_004)).await.len(), 3);
    assert_eq!(listed(&other, &[], at(2_004)).await.len(), 3);
}

#[tokio::test]
async fn a_peer_that_is_removed_from_the_index_and_revived_by_one_process_is_listed_there_at_once() {
    let store = from_index(&fresh_table().await).await;
    for n in 0..25 {
        store.put(put(&format!("dormant{n}"), &[], HOLDER, 1), at(0)).await.unwrap();
    }
    assert_eq!(listed(&store, &[], at(2_000)).await, []);
    store.sweep(at(2_000)).await.unwrap();
    assert_eq!(figure(&store, "dynamodb_delisted_peers_total"), 25);
    let renewed = store.renew(&id("dormant7"), &claim(HOLDER), at(2_001)).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { revived: true, .. })));
    assert_eq!(listed(&store, &[], at(2_002)).await, [("dormant7".to_owned(), 9001)]);
}

/// About 70 of 900 peers fit into the maximum size of a page. The test samples such a page from the
/// list of all entries and from windows of the ring, and also enumerates it.
#[tokio::test]
async fn a_page_cut_at_its_maximum_size_reads_few_unlisted_peers() {
    const PEERS: u16 = 900;
    let options = fresh_table().await;
    let store = from_index(&options).await;
    let puts: Vec<_> = (0..PEERS).map(|n| put(&format!("p{n}"), &["a"], HOLDER, 1)).collect();
    store.write_unchecked(&puts, at(0)).await.unwrap();
    for (limit, enumerated) in [(1_000, false), (400, false), (1_000, true)] {
        let cut = Query { page_bytes: 20_000, ..query(&[], limit) };
        let before = store.units().read;
        let page = match enumerated {
            false => store.sample(&cut, at(1)).await.unwrap(),
            true => match store.enumerate(&cut, None, at(1)).await.unwrap() {
                Enumeration::Page(page, Some(_)) => page,
                other => panic!("{other:?}"),
            },
        };
        let (listed, read) = (peers_of(&page).len(), store.units().read - before);
        assert!(page.peers.bytes() <= 20_000 && listed > 60, "{listed} peers");
        // Reading a peer costs half a unit, and reading the index costs some units, too. Reading
        // all 900 peers would cost 450 units.
        assert!(read < 110.0, "{read} units for {listed} peers of at most {limit}");
    }
    let all = store.sample(&query(&[], 1_000), at(1)).await.unwrap();
    assert_eq!((peers_of(&all).len(), all.total), (900, Total::Exact(900)));
}

#[tokio::test]
async fn a_full_table_rejects_newcomers_but_never_members() {
    let options = fresh_table().await;
    let limits = Limits { max_peers: 3, ..Limits::default() };
    let store = open_within(&options, &limits).await;
    for name in ["p", "q", "r"] {
        store.put(put(name, &["a"], HOLDER, 1), at(0)).await.unwrap();
    }
    assert_eq!(store.put(put("s", &[], HOLDER, 1), at(1)).await, Ok(PutResult::Full(ExceededLimit::Peers)));
    let member = store.put(put("p", &["b"], HOLDER, 2), at(1)).await;
    assert_eq!(member, Ok(PutResult::Stored { token_kept: false }));
}

#[tokio::test]
async fn a_large_network_is_sampled_from_windows_of_the_ring() {
    const PEERS: usize = 1_200;
    let options = fresh_table().await;
    // The bound on the peers of a source is off, because all peers come from one source.
    let filler = open_within(&options, &Limits { max_peers_per_source: 0, ..Limits::default() }).await;
    let puts: Vec<_> = (0..PEERS)
        .map(|n| {
            let own = format!("own{}", n % 3);
            put(&format!("p{n}"), &["all", &own], HOLDER, u8::try_from(n % 200).unwrap())
        })
        .collect();
    for batch in puts.chunks(32) {
        let placed = batch.iter().map(|put| filler.put(put.clone(), at(0)));
        futures_util::future::try_join_all(placed).await.unwrap();
    }
    // Snapshots are enabled, so the store has to detect that the network is too large for one.
    let store = open(&options).await;
    let mut times: HashMap<String, u32> = HashMap::new();
    for _ in 0..60 {
        let page = store.sample(&query(&["own0", "own1", "own2"], 20), at(1)).await.unwrap();
        let peers = peers_of(&page);
        assert_eq!(peers.len(), 20);
        assert!(
            matches!(page.total, Total::Estimate(total) if (800..1_700).contains(&total)),
            "{:?}",
            page.total
        );
        peers.into_iter().for_each(|(name, _)| *times.entry(name).or_default() += 1);
    }
    // Each of the 60 samples contains a given peer with the probability 20 in 1,200. More than half
    // of the peers are therefore in at least one sample. In one of 770 million runs, some peer is
    // in 14 samples.
    assert!(times.len() > 600 && times.values().all(|count| *count < 14), "{times:?}");
    let mut enumerated = Vec::new();
    let mut after = None;
    loop {
        let Enumeration::Page(page, next) =
            store.enumerate(&query(&["all"], 400), after.as_ref(), at(1)).await.unwrap()
        else {
            panic!("the cursor is valid")
        };
        enumerated.extend(peers_of(&page));
        after = next;
        if after.is_none() {
            break;
        }
    }
    let count = enumerated.len();
    enumerated.sort();
    enumerated.dedup();
    assert_eq!((count, enumerated.len()), (PEERS, PEERS));
    let census = store.census(2, at(1)).await.unwrap();
    assert!((800..1_700).contains(&census.live), "{census:?}");
    assert_eq!(census.by_archetype[0].0.as_str(), "all");
}

/// Number of operations that each process makes in the race below.
const RACING: u32 = 500;
const RACED_TABLE: &str = "AURORA_RACED_TABLE";

#[tokio::test]
async fn two_processes_that_race_for_one_peer_leave_one_complete_registration() {
    let options = fresh_table().await;
    let binary = std::env::current_exe().unwrap();
    let racers: Vec<_> = (0..2)
        .map(|_| {
            std::process::Command::new(&binary)
                .args(["--exact", "racer", "--ignored", "--nocapture"])
                .env(RACED_TABLE, &options.table)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for racer in racers {
        let output = tokio::task::spawn_blocking(move || racer.wait_with_output()).await.unwrap().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{printed}");
    }
    for store in [open(&options).await, from_index(&options).await] {
        let all = listed(&store, &[], at(1)).await;
        let [(name, port)] = all.as_slice() else { panic!("not exactly one peer is left: {all:?}") };
        assert_eq!(name, "raced");
        for token in 0..=255_u8 {
            let found = listed(&store, &[&format!("a{token}")], at(1)).await;
            assert_eq!(found.len() == 1, 9000 + u16::from(token) == *port, "a{token} of {port}");
        }
    }
}

/// This is not a test. The test above starts it as one of the racing processes.
#[tokio::test]
#[ignore = "started by the race"]
async fn racer() {
    let mut options = support::with_long_deadlines(std::env::var(RACED_TABLE).unwrap());
    options.endpoint = Some(support::endpoint());
    let store = open(&options).await;
    let operations = (0..RACING).map(|n| {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move {
            if n % 2 == 0 {
                let token = fastrand::u8(..);
                let placed =
                    store.put(put("raced", &[&format!("a{token}"), "shared"], HOLDER, token), at(0)).await;
                assert!(
                    matches!(placed, Ok(PutResult::Stored { .. })),
                    "the holder was rejected: {placed:?}"
                );
            } else {
                let renewed = store
                    .renew(&id("raced"), &claim(HOLDER), at(u64::from(n)))
                    .await
                    .expect("renew does not fail");
                assert!(matches!(renewed, Renewal::Renewed { .. } | Renewal::Unknown));
            }
        })
    });
    for operation in operations.collect::<Vec<_>>() {
        operation.await.unwrap();
    }
}
