//! Faults between the store and its server. The tests check the error that the client gets, and
//! that no acknowledged write is lost.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::time::Duration;

use aurora_discovery_registry::{Removal, Renewal, Store as _, StoreError};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};
use redis::aio::MultiplexedConnection;
use support::proxy::{Fault, Proxy};
use support::{
    EVICTED, HOME, LONG, NOW, OwnServer, STORED, claim, connection, eventually, listed, open, peer, register,
    register_surely, registry_at, send,
};

/// A server, a proxy in front of it, and the options of a store behind the proxy.
async fn behind_proxy() -> (OwnServer, Proxy, ValkeyOptions) {
    let server = OwnServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let mut options = registry_at(proxy.port());
    // Some faults are noticed only after this time.
    options.response_timeout = Duration::from_secs(1);
    (server, proxy, options)
}

/// The options of the same registry without the proxy.
fn directly(server: &OwnServer, options: &ValkeyOptions) -> ValkeyOptions {
    server.registry_named(&options.name)
}

fn reason<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

/// Waits until the store accepts changes again. Then checks that it lists `count` peers, and that a
/// store that is opened now with `options` lists as many. The URL in `options` must be that of the
/// server, not of the proxy.
async fn recovers(store: &ValkeyStore, options: &ValkeyOptions, count: u64) {
    eventually("it recovers", || async { register(store, "before").await == STORED }).await;
    eventually("it lists what is there", || async { listed(store, NOW).await == Ok(count) }).await;
    assert_eq!(listed(&open(options).await, NOW).await, Ok(count));
}

fn key(options: &ValkeyOptions, part: &str) -> String {
    format!("{{aurora:{}}}:{part}", options.name)
}

#[tokio::test]
async fn a_server_that_replies_with_an_error_has_changed_nothing() {
    let (server, proxy, mut options) = behind_proxy().await;
    options.response_timeout = LONG;
    let store = open(&options).await;
    register_surely(&store, "before").await;
    let late = NOW.plus_millis(200_000);
    for error in [
        "-LOADING Valkey is loading the dataset in memory",
        "-READONLY You can't write against a read only replica.",
        "-OOM command not allowed when used memory > 'maxmemory'.",
        "-MISCONF Errors writing to the AOF file: No space left on device",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "-NOREPLICAS Not enough good replicas to write.",
        "-BUSY Valkey is busy running a script.",
        "-NOPERM User app has no permissions to run the 'evalsha' command",
    ] {
        for fault in [Fault::Reply("EVALSHA", error), Fault::EveryReply(error)] {
            proxy.inject(fault);
            for failed in [
                reason(register(&store, "new").await),
                reason(store.renew(&peer("before"), &claim(HOME), late).await),
                reason(store.remove(&peer("before"), &claim(HOME), NOW).await),
            ] {
                assert!(
                    failed.contains("Valkey accepted no change") || failed.contains("does not respond"),
                    "{failed}"
                );
            }
            assert_eq!(listed(&store, NOW).await, Ok(1), "{fault:?}");
            proxy.heal();
            recovers(&store, &directly(&server, &options), 1).await;
        }
    }
}

#[tokio::test]
async fn an_eviction_is_written_after_the_server_has_refused_it() {
    let (server, proxy, options) = behind_proxy().await;
    let store = open(&options).await;
    for fault in [Fault::Reply("EVALSHA", "-OOM no memory"), Fault::ResetBefore("EVALSHA"), Fault::Down] {
        eventually("it recovers", || async { register(&store, "p").await == STORED }).await;
        proxy.inject(fault);
        store.sweep(EVICTED).await.unwrap();
        // The registration fails together with the eviction. Only the eviction is tried again.
        reason(register(&store, "q").await);
        proxy.heal();
        store.sweep(EVICTED).await.unwrap();
        support::until_empty(&directly(&server, &options)).await;
    }
}

#[tokio::test]
async fn a_registration_that_the_server_does_not_confirm_may_have_taken_effect() {
    let (server, proxy, options) = behind_proxy().await;
    let store = open(&options).await;
    proxy.inject(Fault::Reply("WAITAOF", "-ERR WAITAOF cannot be used when appendonly is disabled."));
    let failed = reason(register(&store, "p").await);
    assert!(failed.contains("may have taken effect") && failed.contains("appendonly"), "{failed}");
    proxy.heal();
    recovers(&store, &directly(&server, &options), 2).await;
}

#[tokio::test]
async fn a_connection_that_is_reset_before_the_script_leaves_no_change() {
    let (server, proxy, options) = behind_proxy().await;
    let store = open(&options).await;
    register_surely(&store, "before").await;
    proxy.inject(Fault::ResetBefore("EVALSHA"));
    let failed = reason(register(&store, "p").await);
    assert!(failed.contains("may have taken effect"), "{failed}");
    proxy.heal();
    recovers(&store, &directly(&server, &options), 1).await;
}

#[tokio::test]
async fn a_connection_that_is_reset_or_stalls_after_the_script_leaves_the_change() {
    for fault in [Fault::ResetAfter("EVALSHA"), Fault::Swallow("EVALSHA"), Fault::Swallow("WAITAOF")] {
        let (server, proxy, options) = behind_proxy().await;
        let store = open(&options).await;
        register_surely(&store, "before").await;
        proxy.inject(fault);
        let failed = reason(register(&store, "p").await);
        assert!(failed.contains("may have taken effect"), "{fault:?}: {failed}");
        proxy.heal();
        recovers(&store, &directly(&server, &options), 2).await;
        // A client that repeats the registration succeeds.
        register_surely(&store, "p").await;
    }
}

#[tokio::test]
async fn a_store_without_a_connection_lists_what_it_has_and_refuses_changes() {
    let (server, proxy, options) = behind_proxy().await;
    let store = open(&options).await;
    register_surely(&store, "before").await;
    proxy.inject(Fault::Down);
    reason(register(&store, "p").await);
    assert_eq!(listed(&store, NOW).await, Ok(1));
    proxy.heal();
    recovers(&store, &directly(&server, &options), 1).await;
}

#[tokio::test]
async fn a_failover_during_a_script_loses_nothing_that_was_acknowledged() {
    for reaches_the_replica in [true, false] {
        let (mut primary, proxy, mut options) = behind_proxy().await;
        options.replicas = 1;
        let replica = OwnServer::replica_of(&primary).await;
        let store = open(&options).await;
        for count in 0..20 {
            register_surely(&store, &format!("p{count}")).await;
        }
        let mut promoted = connection(&replica.registry()).await;
        if !reaches_the_replica {
            // The replica is promoted before the script, so it never gets the script's changes.
            send(&mut promoted, "REPLICAOF NO ONE").await;
        }
        proxy.inject(Fault::ResetAfter("EVALSHA"));
        let (failed, ()) = tokio::join!(register(&store, "last"), proxy.met());
        let failed = reason(failed);
        assert!(failed.contains("may have taken effect"), "{failed}");
        if reaches_the_replica {
            let leases = key(&options, "leases");
            eventually("the replica has the change", || async {
                let mut connection = connection(&replica.registry()).await;
                redis::cmd("HLEN").arg(&leases).query_async::<u64>(&mut connection).await == Ok(21)
            })
            .await;
            send(&mut promoted, "REPLICAOF NO ONE").await;
        }
        primary.kill();
        proxy.heal();
        proxy.move_to(replica.port());
        // The new primary has no replica that could confirm changes.
        let mut alone = replica.registry_named(&options.name);
        alone.replicas = 0;
        let expected = if reaches_the_replica { 21 } else { 20 };
        eventually("it lists what the new primary has", || async {
            store.ready().await == Ok(()) && listed(&store, NOW).await == Ok(expected)
        })
        .await;
        assert_eq!(listed(&open(&alone).await, NOW).await, Ok(expected));
        for count in 0..20 {
            eventually("the peer is still known", || async {
                let renewed =
                    store.renew(&peer(&format!("p{count}")), &claim(HOME), NOW.plus_millis(200_000)).await;
                matches!(renewed, Ok(Renewal::Renewed { .. }))
            })
            .await;
        }
    }
}

/// Disconnects the store from the server, runs `change`, and connects the store again.
async fn while_cut_off<F: Future<Output = ()>>(proxy: &Proxy, change: F) {
    proxy.inject(Fault::Down);
    change.await;
    proxy.heal();
}

#[tokio::test]
async fn a_log_that_was_trimmed_in_the_meantime_is_noticed() {
    let (server, proxy, options) = behind_proxy().await;
    let direct = directly(&server, &options);
    let (store, other) = (open(&options).await, open(&direct).await);
    for name in ["removed", "kept"] {
        register_surely(&other, name).await;
    }
    eventually("both are listed", || async { listed(&store, NOW).await == Ok(2) }).await;
    while_cut_off(&proxy, async {
        let removed = other.remove(&peer("removed"), &claim(HOME), NOW).await;
        assert_eq!(removed, Ok(Removal::Removed { was_live: true }));
        register_surely(&other, "new").await;
        register_surely(&other, "newer").await;
        let mut connection = connection(&direct).await;
        send(&mut connection, &format!("XTRIM {} MAXLEN 1", key(&options, "log"))).await;
    })
    .await;
    eventually("all peers are read again", || async { listed(&store, NOW).await == Ok(3) }).await;
    eventually("the removed peer is unknown", || async {
        store.renew(&peer("removed"), &claim(HOME), NOW).await == Ok(Renewal::Unknown)
    })
    .await;
    recovers(&store, &direct, 4).await;
}

/// Replaces the last entry of the log by one with the same id that deletes the peer `deleted`
/// instead. Also deletes the peer `lost`, which the replaced entry had registered. A replica has
/// such a log if it was promoted without that entry and then used the id for another one.
async fn reuse_last_id(connection: &mut MultiplexedConnection, options: &ValkeyOptions, deleted: &str) {
    type Entry = (String, Vec<Vec<u8>>);
    let log = key(options, "log");
    let mut entries: Vec<Entry> =
        redis::cmd("XRANGE").arg(&log).arg("-").arg("+").query_async(connection).await.unwrap();
    let (last, fields) = entries.pop().unwrap();
    let nonce = b"0123456789abcdef".to_vec();
    let of_deleted = format!("={deleted}").into_bytes();
    let again = vec![
        b"nonce".to_vec(),
        nonce.clone(),
        b"previous".to_vec(),
        fields[3].clone(),
        of_deleted,
        Vec::new(),
    ];
    entries.push((last, again));
    let mut commands = redis::pipe();
    commands.atomic().cmd("DEL").arg(&log).ignore();
    for (id, fields) in &entries {
        commands.cmd("XADD").arg(&log).arg(id).arg(fields).ignore();
    }
    commands.cmd("SET").arg(key(options, "head")).arg(nonce).ignore();
    for hash in ["leases", "peers"] {
        commands.cmd("HDEL").arg(key(options, hash)).arg(deleted).arg("lost").ignore();
    }
    let () = commands.query_async(connection).await.unwrap();
}

#[tokio::test]
async fn a_promoted_replica_that_reuses_the_id_of_an_entry_is_noticed() {
    let (server, proxy, options) = behind_proxy().await;
    let direct = directly(&server, &options);
    let store = open(&options).await;
    for name in ["before", "deleted", "lost"] {
        register_surely(&store, name).await;
    }
    while_cut_off(&proxy, async {
        let mut connection = connection(&direct).await;
        reuse_last_id(&mut connection, &options, "deleted").await;
    })
    .await;
    eventually("it lists what is there", || async { listed(&store, NOW).await == Ok(1) }).await;
    for name in ["deleted", "lost"] {
        eventually("it is unknown", || async {
            store.renew(&peer(name), &claim(HOME), NOW).await == Ok(Renewal::Unknown)
        })
        .await;
    }
    recovers(&store, &direct, 1).await;
}

#[tokio::test]
async fn a_promoted_replica_without_a_change_that_this_process_has_not_seen_in_the_log_is_noticed() {
    let (server, proxy, options) = behind_proxy().await;
    let direct = directly(&server, &options);
    let store = open(&options).await;
    for name in ["before", "deleted"] {
        register_surely(&store, name).await;
    }
    proxy.inject(Fault::Swallow("XREAD"));
    proxy.met().await;
    register_surely(&store, "lost").await;
    while_cut_off(&proxy, async {
        let mut connection = connection(&direct).await;
        reuse_last_id(&mut connection, &options, "deleted").await;
    })
    .await;
    eventually("it lists what is there", || async { listed(&store, NOW).await == Ok(1) }).await;
    recovers(&store, &direct, 1).await;
}

#[tokio::test]
async fn a_process_that_has_not_read_the_log_gives_no_outdated_response() {
    let (server, proxy, options) = behind_proxy().await;
    let (store, other) = (open(&options).await, open(&directly(&server, &options)).await);
    register_surely(&store, "removed").await;
    proxy.inject(Fault::Swallow("XREAD"));
    proxy.met().await;
    register_surely(&other, "new").await;
    let removed = other.remove(&peer("removed"), &claim(HOME), NOW).await;
    assert_eq!(removed, Ok(Removal::Removed { was_live: true }));
    // The store may fail, or respond after it has read the log.
    let of_new = store.renew(&peer("new"), &claim(HOME), NOW).await;
    assert!(matches!(of_new, Err(_) | Ok(Renewal::Renewed { .. })), "{of_new:?}");
    let of_removed = store.renew(&peer("removed"), &claim(HOME), NOW).await;
    assert!(matches!(of_removed, Err(_) | Ok(Renewal::Unknown)), "{of_removed:?}");
}
