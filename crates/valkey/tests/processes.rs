//! Several processes on one registry, as several stores.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::time::Duration;

use aurora_discovery_registry::{PutResult, Removal, Renewal, Store as _};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};
use support::{
    HOME, NOW, STORED, TTL, claim, connection, eventually, fresh_registry, listed, open, peer, register,
};

async fn two() -> (ValkeyOptions, ValkeyStore, ValkeyStore) {
    let options = fresh_registry();
    let (one, other) = (open(&options).await, open(&options).await);
    (options, one, other)
}

async fn lists(store: &ValkeyStore, count: u64) {
    eventually("the other process has the change", || async { listed(store, NOW).await == Ok(count) }).await;
}

#[tokio::test]
async fn what_one_process_writes_another_lists_renews_and_deregisters() {
    let (_, one, other) = two().await;
    assert_eq!(register(&one, "p").await, STORED);
    lists(&other, 1).await;
    let later = NOW.plus_millis(250_000);
    let renewed = other.renew(&peer("p"), &claim(HOME), later).await.unwrap();
    assert!(matches!(renewed, Renewal::Renewed { revived: false, .. }), "{renewed:?}");
    // At the first process, the lease of the registration has ended by then.
    let end = NOW + TTL;
    eventually("the heartbeat arrives", || async { listed(&one, end).await == Ok(1) }).await;
    let removed = one.remove(&peer("p"), &claim(HOME), later).await;
    assert_eq!(removed, Ok(Removal::Removed { was_live: true }));
    lists(&other, 0).await;
    assert_eq!(other.renew(&peer("p"), &claim(HOME), later).await, Ok(Renewal::Unknown));
}

#[tokio::test]
async fn of_two_processes_that_register_an_unused_name_at_once_one_succeeds() {
    let (_, one, other) = two().await;
    for round in 0..50 {
        let name = format!("p{round}");
        let put = |from| support::registration(&name, from);
        let (at_one, at_other) = tokio::join!(one.put(put(HOME), NOW), other.put(put("198.51.100.1"), NOW));
        let stored =
            [at_one.unwrap(), at_other.unwrap()].map(|result| matches!(result, PutResult::Stored { .. }));
        assert!(stored[0] != stored[1], "{name}: {stored:?}");
    }
}

#[tokio::test]
async fn a_process_that_has_missed_changes_reads_all_peers_again() {
    let (options, one, other) = two().await;
    for name in ["lost", "kept"] {
        assert_eq!(register(&one, name).await, STORED);
    }
    lists(&other, 2).await;
    // As on a replica that became the primary without the last entries of the log.
    let mut connection = connection(&options).await;
    let key = |part: &str| format!("{{aurora:{}}}:{part}", options.name);
    let mut commands = redis::pipe();
    for hash in ["leases", "peers"] {
        commands.cmd("HDEL").arg(key(hash)).arg("lost").ignore();
    }
    commands.cmd("DEL").arg(key("log")).arg(key("head")).ignore();
    // The ids of entries have milliseconds, and those of a new log begin again within one.
    tokio::time::sleep(Duration::from_millis(2)).await;
    let () = commands.query_async(&mut connection).await.unwrap();
    assert_eq!(register(&one, "new").await, STORED);
    for store in [&one, &other] {
        eventually("all peers are read again", || async {
            let lost = store.remove(&peer("lost"), &claim(HOME), NOW).await;
            listed(store, NOW).await == Ok(2) && lost == Ok(Removal::Unknown)
        })
        .await;
    }
}

#[tokio::test]
async fn a_stored_peer_that_cannot_be_read_is_skipped_and_its_name_can_be_registered() {
    let options = fresh_registry();
    let one = open(&options).await;
    for name in ["good", "lease", "record"] {
        assert_eq!(register(&one, name).await, STORED);
    }
    one.close().await.unwrap();
    let mut connection = connection(&options).await;
    let key = |part: &str| format!("{{aurora:{}}}:{part}", options.name);
    let mut commands = redis::pipe();
    commands.cmd("HSET").arg(key("leases")).arg("lease").arg("1 2 3").ignore();
    commands.cmd("HSET").arg(key("peers")).arg("record").arg("{").ignore();
    commands.cmd("HSET").arg(key("leases")).arg("no id, because of its spaces").arg("1").ignore();
    let () = commands.query_async(&mut connection).await.unwrap();
    let store = open(&options).await;
    assert_eq!(listed(&store, NOW).await, Ok(1));
    for name in ["lease", "record"] {
        assert_eq!(register(&store, name).await, STORED, "{name}");
    }
    assert_eq!(listed(&store, NOW).await, Ok(3));
}

#[tokio::test]
async fn dormant_peers_are_deleted_from_the_server_when_their_time_is_over() {
    let (options, one, other) = two().await;
    assert_eq!(register(&one, "p").await, STORED);
    lists(&other, 1).await;
    let day = Duration::from_secs(86_400).as_millis();
    let over = (NOW + TTL).plus_millis(u64::try_from(day).unwrap());
    other.sweep(over).await.unwrap();
    let mut connection = connection(&options).await;
    let key = format!("{{aurora:{}}}:leases", options.name);
    let waiting = async {
        while redis::cmd("HLEN").arg(&key).query_async::<u64>(&mut connection).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(support::LONG, waiting).await.expect("the peer is deleted");
    assert_eq!(one.renew(&peer("p"), &claim(HOME), NOW).await, Ok(Renewal::Unknown));
}
