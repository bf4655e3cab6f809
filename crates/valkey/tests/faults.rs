//! Faults of the server. The tests check that no acknowledged change is lost, and that peers are
//! listed during the fault.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::time::Duration;

use aurora_discovery_registry::{Limits, Renewal, Store as _, StoreError};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};
use support::proxy::{Fault, Proxy};
use support::{
    HOME, NOW, OwnServer, claim, connection, eventually, listed, open, peer, register, register_surely,
    registry_at, send,
};

fn is_unavailable<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { reason, .. }) => reason,
        Err(StoreError::Internal(reason)) => panic!("internal: {reason}"),
        Ok(_) => panic!("it succeeded"),
    }
}

#[tokio::test]
async fn a_refused_change_has_no_effect_and_the_service_recovers() {
    let server = OwnServer::start().await;
    let store = open(&server.registry()).await;
    register_surely(&store, "before").await;
    let mut connection = connection(&server.registry()).await;
    for (broken, mended) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    ] {
        send(&mut connection, broken).await;
        let reason = is_unavailable(register(&store, "p").await);
        assert!(reason.contains("no change"), "{broken}: {reason}");
        assert_eq!(listed(&store, NOW).await, Ok(1), "{broken}");
        send(&mut connection, mended).await;
        eventually("it recovers", || async { register(&store, "before").await.is_ok() }).await;
    }
    assert_eq!(listed(&store, NOW).await, Ok(1));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash_and_peers_are_listed_meanwhile() {
    let mut server = OwnServer::start().await;
    let options = server.registry();
    let store = open(&options).await;
    for count in 0..20 {
        register_surely(&store, &format!("p{count}")).await;
    }
    server.kill();
    is_unavailable(register(&store, "p20").await);
    let later = NOW.plus_millis(200_000);
    is_unavailable(store.renew(&peer("p0"), &claim(HOME), later).await);
    assert_eq!(listed(&store, NOW).await, Ok(20));
    server.restart().await;
    eventually("it recovers", || async { store.renew(&peer("p0"), &claim(HOME), later).await.is_ok() }).await;
    assert_eq!(listed(&open(&options).await, NOW).await, Ok(20));
}

#[tokio::test]
async fn a_registration_that_too_few_replicas_confirm_is_not_acknowledged_but_may_be_there() {
    let server = OwnServer::start().await;
    let mut options = server.registry();
    options.replicas = 1;
    let store = open(&options).await;
    let reason = is_unavailable(register(&store, "p").await);
    assert!(reason.contains("may have taken effect") && reason.contains("0 of 1 replicas"), "{reason}");
    is_unavailable(store.health().await);
    assert_eq!(store.ready().await, Ok(()));
    assert_eq!(listed(&store, NOW).await, Ok(1));
    // A heartbeat need not be durable, so it succeeds without a confirmation.
    let renewed = store.renew(&peer("p"), &claim(HOME), NOW.plus_millis(200_000)).await.unwrap();
    assert!(matches!(renewed, Renewal::Renewed { .. }));
}

/// Resets the connections of the store as soon as `is_due` holds.
async fn reset_when<F: Future<Output = bool>>(options: &ValkeyOptions, is_due: impl Fn() -> F) {
    eventually("the change is under way", is_due).await;
    let mut connection = connection(options).await;
    send(&mut connection, "CLIENT KILL TYPE normal SKIPME yes").await;
}

#[tokio::test]
async fn a_change_whose_connection_is_lost_before_it_is_executed_is_not_there() {
    let server = OwnServer::start().await;
    let options = server.registry();
    let store = open(&options).await;
    let mut holder = connection(&options).await;
    send(&mut holder, "CLIENT PAUSE 600000 WRITE").await;
    let blocked = || async {
        let mut connection = connection(&options).await;
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut connection).await.unwrap();
        clients.contains("cmd=evalsha")
    };
    let (result, ()) = tokio::join!(register(&store, "p"), reset_when(&options, blocked));
    let reason = is_unavailable(result);
    assert!(reason.contains("may have taken effect"), "{reason}");
    let mut connection = connection(&options).await;
    send(&mut connection, "CLIENT UNPAUSE").await;
    eventually("it recovers", || async { register(&store, "q").await.is_ok() }).await;
    for store in [&store, &open(&options).await] {
        assert_eq!(listed(store, NOW).await, Ok(1));
    }
}

#[tokio::test]
async fn a_change_whose_connection_is_lost_before_it_is_confirmed_is_there() {
    let server = OwnServer::start().await;
    let mut options = server.registry();
    options.replicas = 1;
    let store = open(&options).await;
    let other = open(&server.registry_named(&options.name)).await;
    let executed = || async { listed(&other, NOW).await == Ok(1) };
    let (result, ()) = tokio::join!(register(&store, "p"), reset_when(&options, executed));
    let reason = is_unavailable(result);
    assert!(reason.contains("may have taken effect"), "{reason}");
    for store in [&store, &other, &open(&options).await] {
        eventually("it is there", || async { listed(store, NOW).await == Ok(1) }).await;
    }
}

#[tokio::test]
async fn a_stalled_server_ends_no_lease_and_is_reported() {
    let server = OwnServer::start().await;
    let mut options = server.registry();
    options.deadline = Duration::from_millis(300);
    options.response_timeout = Duration::from_millis(500);
    let store = open(&options).await;
    register_surely(&store, "p").await;
    assert_eq!(listed(&store, NOW).await, Ok(1));
    let mut connection = connection(&options).await;
    send(&mut connection, "CLIENT PAUSE 600000 ALL").await;
    is_unavailable(register(&store, "q").await);
    eventually("it is reported", || async { store.ready().await.is_err() }).await;
    // The granted lease has ended by now, but another process may have renewed it, so the store
    // still lists the peer.
    assert_eq!(listed(&store, NOW.plus_millis(301_000)).await, Ok(1));
}

#[tokio::test]
async fn a_server_that_would_delete_peers_or_has_no_disk_is_refused_at_the_start() {
    let server = OwnServer::start().await;
    let mut connection = connection(&server.registry()).await;
    for (setting, restored, reason) in [
        ("maxmemory-policy allkeys-lru", "maxmemory-policy noeviction", "maxmemory-policy noeviction"),
        ("appendfsync everysec", "appendfsync always", "appendfsync always"),
        ("appendonly no", "appendonly yes", "appendonly yes"),
    ] {
        send(&mut connection, &format!("CONFIG SET {setting}")).await;
        let refused = ValkeyStore::open(server.registry(), Limits::default()).await.err().expect("refused");
        assert!(refused.to_string().contains(reason), "{refused}");
        let mut weak = server.registry();
        weak.weak_durability = true;
        let opened = ValkeyStore::open(weak, Limits::default()).await;
        assert_eq!(opened.is_ok(), !setting.starts_with("maxmemory"), "{setting}");
        send(&mut connection, &format!("CONFIG SET {restored}")).await;
    }
}

/// Redis 7.0 has no WAITAOF, and reports that as this proxy does.
#[tokio::test]
async fn a_server_without_waitaof_is_refused_unless_weak_durability_is_accepted() {
    let server = OwnServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    proxy.inject(Fault::Reply("COMMAND", "*1\r\n*-1"));
    refuses_without_the_flag(&registry_at(proxy.port())).await;
}

#[tokio::test]
async fn redis_before_7_2_is_refused_unless_weak_durability_is_accepted() {
    let program = "redis-server";
    let version = std::process::Command::new(program).arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    if !version.is_ok_and(|version| version.contains(" v=7.0.")) {
        eprintln!("skipped: Redis 7.0 is not installed (Debian 12: apt-get install redis-server)");
        return;
    }
    let server = OwnServer::run(program, &[]).await;
    refuses_without_the_flag(&server.registry()).await;
}

/// Checks that the store refuses a server without `WAITAOF`, and works on it with weak durability.
async fn refuses_without_the_flag(options: &ValkeyOptions) {
    let refused = ValkeyStore::open(options.clone(), Limits::default()).await.err().expect("refused");
    let reason = refused.to_string();
    assert!(reason.contains("no WAITAOF") && reason.contains("--valkey-weak-durability"), "{reason}");
    let mut weak = options.clone();
    weak.weak_durability = true;
    let (one, other) = (open(&weak).await, open(&weak).await);
    register_surely(&one, "p").await;
    eventually("the other process has it", || async { listed(&other, NOW).await == Ok(1) }).await;
    let renewed = other.renew(&peer("p"), &claim(HOME), NOW.plus_millis(200_000)).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { .. })), "{renewed:?}");
}
