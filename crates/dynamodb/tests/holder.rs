//! Tests which client may change a peer, in cases that depend on what the table stores about its
//! holder. The rules themselves are tested with the registry and by the conformance suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/stand_in.rs"]
mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore};
use aurora_discovery_protocol::{PublicKey, Timestamp};
use aurora_discovery_registry::{Claim, PutRequest, PutResult, Removal, Renewal, Signature, Signing, Store};
use aws_sdk_dynamodb::types::AttributeValue;
use tokio::sync::Notify;

use proxy::{Fault, Proxy};
use support::{at, claim, fresh_table, id, items, open, put};

const HOLDER: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.1";

async fn renew(store: &DynamoStore, by: &Claim, now: Timestamp) {
    let renewed = store.renew(&id("p"), by, now).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { .. })), "{renewed:?}");
}

async fn item(options: &DynamoOptions) -> HashMap<String, AttributeValue> {
    items(options, "p").await.remove(0)
}

async fn proven_at(options: &DynamoOptions) -> Timestamp {
    Timestamp::from_millis(item(options).await["proven"].as_n().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_proof_is_stored_when_it_is_due_even_if_the_lease_needs_no_write() {
    let options = fresh_table().await;
    let store = open(&options).await;
    store.put(put("p", &[], HOLDER, 1), at(0)).await.unwrap();
    renew(&store, &claim(STRANGER), at(250)).await;
    assert_eq!(proven_at(&options).await, at(0), "a stranger's heartbeat proves nothing");
    let before = item(&options).await;
    renew(&store, &claim(HOLDER), at(300)).await;
    assert_eq!(item(&options).await, before, "the stored proof is a lease old, and the lease runs until 650");
    renew(&store, &claim(HOLDER), at(301)).await;
    assert_eq!(proven_at(&options).await, at(301));
    let before = item(&options).await;
    renew(&store, &claim(HOLDER), at(302)).await;
    assert_eq!(item(&options).await, before);
}

#[tokio::test]
async fn a_proof_is_stored_with_every_write_of_a_proven_heartbeat() {
    let options = fresh_table().await;
    let store = open(&options).await;
    store.put(put("p", &[], HOLDER, 1), at(0)).await.unwrap();
    renew(&store, &claim(HOLDER), at(60)).await;
    assert_eq!(proven_at(&options).await, at(60));
    // Another process, whose clock is behind, renews the lease.
    renew(&store, &claim(HOLDER), at(50)).await;
    assert_eq!(proven_at(&options).await, at(60));
}

#[tokio::test]
async fn a_peer_without_proof_for_twelve_leases_is_replaced_unless_its_holder_returns() {
    for returns in [true, false] {
        let options = fresh_table().await;
        let store = open(&options).await;
        store.put(put("p", &[], HOLDER, 1), at(0)).await.unwrap();
        for now in (250..3_600).step_by(250) {
            renew(&store, &claim(STRANGER), at(now)).await;
        }
        if returns {
            renew(&store, &claim(HOLDER), at(3_599)).await;
        }
        // A store like that of another process, which has no memory of the first one's writes.
        let other = open(&options).await;
        let replaced = other.put(put("p", &[], STRANGER, 2), at(3_600)).await;
        assert_eq!(matches!(replaced, Ok(PutResult::Held(_))), returns, "{replaced:?}");
    }
}

#[tokio::test]
async fn a_token_only_peer_and_the_page_of_a_peer_are_known_to_other_processes() {
    let options = fresh_table().await;
    let store = open(&options).await;
    let on_page = |page: &str| Claim {
        page: aurora_discovery_registry::WebOrigin::of_header(page.as_bytes()),
        ..claim(HOLDER)
    };
    let mut of_page = put("page", &[], HOLDER, 1);
    of_page.claim = on_page("https://own.example");
    store.put(of_page, at(0)).await.unwrap();
    let mut token_only = put("p", &[], HOLDER, 2);
    token_only.token_only = true;
    let with_token = Claim { token: Some(token_only.new_token), ..claim(STRANGER) };
    store.put(token_only, at(0)).await.unwrap();

    let other = open(&options).await;
    let foreign = other.remove(&id("page"), &on_page("https://other.example"), at(1)).await;
    assert!(matches!(foreign, Ok(Removal::Held(_))), "{foreign:?}");
    let own = other.remove(&id("page"), &on_page("https://own.example"), at(1)).await;
    assert_eq!(own, Ok(Removal::Removed { was_live: true }));
    let by_address = other.renew(&id("p"), &claim(HOLDER), at(1)).await;
    assert!(matches!(by_address, Ok(Renewal::Held(_))), "{by_address:?}");
    renew(&other, &with_token, at(1)).await;
}

/// A stranger tries to replace a peer at `now`. Its holder has not proved itself for twelve lease
/// durations, so any client may replace it. Between the stranger's read and its write, a heartbeat
/// with the claim `meanwhile` arrives. Returns the stranger's result.
async fn replaced_while(now: Timestamp, meanwhile: &Claim) -> PutResult {
    let direct = fresh_table().await;
    let store = open(&direct).await;
    store.put(put("p", &[], HOLDER, 1), at(0)).await.unwrap();
    for unproven in (250..3_600).step_by(250) {
        renew(&store, &claim(STRANGER), at(unproven)).await;
    }
    let proxy = Proxy::in_front_of(direct.endpoint.as_deref().unwrap()).await;
    let mut options = direct.clone();
    options.endpoint = Some(proxy.endpoint.clone());
    let (read, changed) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let (notify, is_changed) = (Arc::clone(&read), Arc::clone(&changed));
    proxy.rule(move |call| {
        if call.action != "PutItem" || is_changed.load(Ordering::SeqCst) {
            return Fault::None;
        }
        notify.notify_one();
        Fault::Throttle
    });
    let stranger = open(&options).await;
    let replacing = stranger.put(put("p", &[], STRANGER, 2), now);
    let meanwhile = async {
        read.notified().await;
        renew(&store, meanwhile, now).await;
        changed.store(true, Ordering::SeqCst);
    };
    tokio::join!(replacing, meanwhile).0.unwrap()
}

#[tokio::test]
async fn a_heartbeat_between_a_strangers_read_and_write_protects_the_peer() {
    // At 3,600 the peer has had no proof for twelve lease durations of 300 s. Its lease runs until
    // 3,900.
    let proven = replaced_while(at(3_600), &claim(HOLDER)).await;
    assert!(matches!(proven, PutResult::Held(_)), "{proven:?}");
    let unproven = replaced_while(at(3_600), &claim(STRANGER)).await;
    assert_eq!(unproven, PutResult::Stored { token_kept: false }, "it proves nothing");
}

/// A registration of this name, signed with the key of this number.
fn signed(name: &str, key: u8, seq: u64) -> PutRequest {
    let record = format!("header.{name}-{key}-{seq}.signature").into();
    let signature = Signature { key: PublicKey::from_bytes([key; 32]), seq, replaces: None, record };
    PutRequest { token_only: true, signing: Signing::Signed(signature), ..put(name, &[], HOLDER, key) }
}

#[tokio::test]
async fn of_two_processes_that_sign_an_unused_name_at_once_one_key_gets_it() {
    let options = fresh_table().await;
    let (one, other) = (open(&options).await, open(&options).await);
    for round in 0..20 {
        let name = format!("p{round}");
        let (first, second) =
            tokio::join!(one.put(signed(&name, 1, 1), at(0)), other.put(signed(&name, 2, 1), at(0)));
        let results = [first.unwrap(), second.unwrap()];
        let stored = |result: &PutResult| matches!(result, PutResult::Stored { .. });
        let (winner, refused) = if stored(&results[0]) { (1, results[1]) } else { (2, results[0]) };
        assert!(results.iter().any(stored), "{name}: {results:?}");
        assert_eq!(refused, PutResult::Locked { key: PublicKey::from_bytes([winner; 32]) }, "{name}");
        // The same key signs two further registrations. The one with the higher number stays, in
        // whatever order they arrive.
        let [low, high] = [2, 3].map(|seq| signed(&name, winner, seq));
        let (low, high) = tokio::join!(one.put(low, at(1)), other.put(high, at(1)));
        assert!(matches!(high, Ok(PutResult::Stored { .. })), "{name}: {high:?}");
        let is_older = matches!(low, Ok(PutResult::Stored { .. } | PutResult::Stale { seq: 3 }));
        assert!(is_older, "{name}: {low:?}");
        for store in [&one, &other] {
            let again = store.put(signed(&name, winner, 3), at(1)).await;
            assert_eq!(again, Ok(PutResult::Stale { seq: 3 }), "{name}");
        }
    }
}
