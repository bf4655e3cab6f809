//! Several processes that share one registry. Each is simulated by a store of its own within the
//! test's process.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/gate.rs"]
mod gate;
#[path = "support/server.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{MailId, PublicKey};
use aurora_discovery_registry::{
    Delivery, Letter, PutRequest, PutResult, Removal, Renewal, SidHash, Signature, Signing, Store as _,
};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};
use gate::Gate;
use support::{
    EVICTED, HOME, NOW, STORED, TTL, claim, connection, eventually, fresh_registry, listed, open, peer,
    register,
};

async fn two() -> (ValkeyOptions, ValkeyStore, ValkeyStore) {
    let options = fresh_registry();
    let (one, other) = (open(&options).await, open(&options).await);
    (options, one, other)
}

/// Two processes, and the gate that holds back the first batch of the second one.
async fn two_with_a_gate() -> (ValkeyStore, Arc<ValkeyStore>, Gate) {
    let options = fresh_registry();
    let one = open(&options).await;
    let gate = Gate::in_front_of(&options.url).await;
    let mut behind = options.clone();
    behind.url.clone_from(&gate.url);
    let other = Arc::new(open(&behind).await);
    (one, other, gate)
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
    // At this time, the lease of the registration has ended. The first process lists the peer only
    // if it knows of the heartbeat.
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
async fn what_a_process_decides_after_a_conflict_stays_in_its_replica() {
    let (one, other, gate) = two_with_a_gate().await;
    // The other process decides that the name is unknown. Before the server checks that, another
    // process registers the name.
    let removing = Arc::clone(&other);
    let request = tokio::spawn(async move { removing.remove(&peer("p"), &claim(HOME), NOW).await });
    gate.holds_a_batch().await;
    assert_eq!(register(&one, "p").await, STORED);
    lists(&other, 1).await;
    gate.open();
    assert_eq!(request.await.unwrap(), Ok(Removal::Removed { was_live: true }));
    assert_eq!(listed(&other, NOW).await, Ok(0));
    lists(&one, 0).await;
}

#[tokio::test]
async fn a_conflict_brings_no_deleted_peer_back() {
    let (one, other, gate) = two_with_a_gate().await;
    assert_eq!(register(&one, "p").await, STORED);
    lists(&other, 1).await;
    // The other process decides about a deletion. Its client cancels the request while the deletion
    // is on its way to the server.
    let deleting = Arc::clone(&other);
    let request = tokio::spawn(async move { deleting.remove(&peer("p"), &claim(HOME), NOW).await });
    gate.holds_a_batch().await;
    request.abort();
    let removed = one.remove(&peer("p"), &claim(HOME), NOW).await;
    assert_eq!(removed, Ok(Removal::Removed { was_live: true }));
    assert_eq!(register(&one, "q").await, STORED);
    // In the log, the deletion of `p` comes before the registration of `q`. When the other process
    // lists one peer again, it has applied both.
    lists(&other, 1).await;
    gate.open();
    // The batch with the registration of `r` is written only after the conflict has been handled.
    assert_eq!(register(&other, "r").await, STORED);
    assert_eq!(listed(&other, NOW).await, Ok(2));
}

#[tokio::test]
async fn a_process_that_has_missed_changes_reads_all_peers_again() {
    let (options, one, other) = two().await;
    for name in ["lost", "kept"] {
        assert_eq!(register(&one, name).await, STORED);
    }
    lists(&other, 2).await;
    // The server now looks like a replica that was promoted without the last entries of the log.
    let mut connection = connection(&options).await;
    let key = |part: &str| format!("{{aurora:{}}}:{part}", options.name);
    let mut commands = redis::pipe();
    for hash in ["leases", "peers"] {
        commands.cmd("HDEL").arg(key(hash)).arg("lost").ignore();
    }
    commands.cmd("DEL").arg(key("log")).arg(key("head")).ignore();
    // The ids of entries begin with the time in milliseconds. The wait ensures that those of the
    // new log are higher than those of the old one.
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
    other.sweep(EVICTED).await.unwrap();
    support::until_empty(&options).await;
    assert_eq!(one.renew(&peer("p"), &claim(HOME), NOW).await, Ok(Renewal::Unknown));
}

#[tokio::test]
async fn an_eviction_deletes_no_peer_that_another_process_has_changed() {
    let (one, other, gate) = two_with_a_gate().await;
    assert_eq!(register(&one, "p").await, STORED);
    lists(&other, 1).await;
    other.sweep(EVICTED).await.unwrap();
    gate.holds_a_batch().await;
    let renewed = one.renew(&peer("p"), &claim(HOME), NOW.plus_millis(100_000)).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { .. })), "{renewed:?}");
    gate.open();
    // The eviction was written, or refused, before this registration.
    assert_eq!(register(&other, "q").await, STORED);
    lists(&one, 2).await;
    lists(&other, 2).await;
}

/// A registration of a name, signed with the key of this number.
fn signed(name: &str, key: u8, seq: u64) -> PutRequest {
    let record = format!("header.{name}-{key}-{seq}.signature").into();
    let signature = Signature { key: PublicKey::from_bytes([key; 32]), seq, replaces: None, record };
    PutRequest { token_only: true, signing: Signing::Signed(signature), ..support::registration(name, HOME) }
}

#[tokio::test]
async fn of_two_processes_that_sign_an_unused_name_at_once_one_key_gets_it() {
    let (_, one, other) = two().await;
    for round in 0..20 {
        let name = format!("p{round}");
        let (first, second) =
            tokio::join!(one.put(signed(&name, 1, 1), NOW), other.put(signed(&name, 2, 1), NOW));
        let results = [first.unwrap(), second.unwrap()];
        let stored = |result: &PutResult| matches!(result, PutResult::Stored { .. });
        let (winner, refused) = if stored(&results[0]) { (1, results[1]) } else { (2, results[0]) };
        assert!(results.iter().any(stored), "{name}: {results:?}");
        assert_eq!(refused, PutResult::Locked { key: PublicKey::from_bytes([winner; 32]) }, "{name}");
        // Two registrations with the same key: the higher number stays, in whatever order they
        // arrive.
        let [low, high] = [2, 3].map(|seq| signed(&name, winner, seq));
        let (low, high) =
            tokio::join!(one.put(low, NOW.plus_millis(1_000)), other.put(high, NOW.plus_millis(1_000)));
        assert!(matches!(high, Ok(PutResult::Stored { .. })), "{name}: {high:?}");
        let is_older = matches!(low, Ok(PutResult::Stored { .. } | PutResult::Stale { seq: 3 }));
        assert!(is_older, "{name}: {low:?}");
        for store in [&one, &other] {
            let again = store.put(signed(&name, winner, 3), NOW.plus_millis(1_000)).await;
            assert_eq!(again, Ok(PutResult::Stale { seq: 3 }), "{name}");
        }
    }
}

#[tokio::test]
async fn a_message_that_comes_through_one_process_wakes_those_that_wait_at_another() {
    let (_, one, other) = two().await;
    let (one, other) = (one.mailboxes().unwrap(), other.mailboxes().unwrap());
    let to = peer("b");
    let mut signal = other.signal(&to).unwrap();
    for number in 1..=2 {
        let from = peer("a");
        let letter = Letter {
            id: MailId::new(number),
            source: claim(HOME).source,
            sid: SidHash::of(&from, &number.to_string()),
            from,
            message: "a.b.c".into(),
            sent_at: NOW,
        };
        assert_eq!(one.deliver(&to, letter.clone(), NOW).await, Ok(Delivery::Delivered));
        let woken = std::future::poll_fn(|context| signal.poll_arrival(context));
        tokio::time::timeout(support::LONG, woken).await.expect("the other process is woken");
        assert_eq!(other.collect(&to, &[], NOW).await, Ok(vec![letter]));
        assert_eq!(other.collect(&to, &[MailId::new(number)], NOW).await, Ok(Vec::new()));
    }
    assert_eq!(one.collect(&to, &[], NOW).await, Ok(Vec::new()));
}
