//! Tests of the store's clock, which takes the time from DynamoDB, so that the processes that share
//! a table agree on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/stand_in.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{PutResult, Removal, Renewal, Store, StoreError};

use proxy::Proxy;
use support::{claim, fresh_table, id, listed, open, put, query};

const HOLDER: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.1";
const DAY: u64 = 86_400;
/// How far the clocks may be apart, in seconds. A busy machine may delay a response, and with it the
/// store's clock.
const TOLERANCE: u64 = 60;

/// The options of a store that takes the time from DynamoDB, and that calls DynamoDB through the
/// returned proxy.
async fn options_through_a_proxy() -> (DynamoOptions, Proxy) {
    let mut options = fresh_table().await;
    options.store_time = true;
    let proxy = Proxy::in_front_of(options.endpoint.as_deref().unwrap()).await;
    options.endpoint = Some(proxy.endpoint.clone());
    (options, proxy)
}

fn seconds_of_this_machine() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { .. }))
}

/// Advances the monotonic clock by some seconds, without waiting.
async fn wait(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// The proxy adds a day to the dates of responses, so the wall clock of this machine appears to be
/// a day behind DynamoDB's.
#[tokio::test]
async fn a_process_whose_wall_clock_is_a_day_off_changes_no_lease() {
    let (options, proxy) = options_through_a_proxy().await;
    proxy.shift_dates(Some(DAY));
    let stores: [Arc<DynamoStore>; 2] = [open(&options).await, open(&options).await];
    for store in &stores {
        store.health().await.unwrap();
        let ahead = store.clock()().as_secs() - seconds_of_this_machine();
        assert!((DAY - TOLERANCE..=DAY + TOLERANCE).contains(&ahead), "{ahead} s ahead of this machine");
    }
    let [one, other] = &stores;
    let now = one.clock()();
    one.put(put("p", &[], HOLDER, 1), now).await.unwrap();
    let time = other.clock()();
    let apart = time.millis_since(now).max(now.millis_since(time));
    assert!(apart < 1_000 * TOLERANCE, "{now:?} {time:?}");
    assert_eq!(listed(other, &[], other.clock()()).await.len(), 1);
    let taken = other.put(put("p", &[], STRANGER, 2), other.clock()()).await;
    assert!(
        matches!(taken, Ok(PutResult::Held(held)) if held.until == now.plus_millis(300_000)),
        "{taken:?}"
    );
    let renewed = other.renew(&id("p"), &claim(HOLDER), other.clock()()).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{renewed:?}");
    assert_eq!(listed(one, &[], one.clock()().plus_millis(300_000 - 1_000 * TOLERANCE)).await.len(), 1);
    assert_eq!(listed(one, &[], one.clock()().plus_millis(400_000 + 1_000 * TOLERANCE)).await.len(), 0);
}

#[tokio::test]
async fn without_a_sample_for_a_minute_changes_are_unavailable_and_reads_go_on() {
    let (options, _proxy) = options_through_a_proxy().await;
    let store = open(&options).await;
    store.health().await.unwrap();
    let now = store.clock()();
    store.put(put("p", &[], HOLDER, 1), now).await.unwrap();
    wait(30).await;
    assert_eq!(store.put(put("q", &[], HOLDER, 1), now).await, Ok(PutResult::Stored { token_kept: false }));
    wait(61).await;
    assert!(is_unavailable(&store.put(put("r", &[], HOLDER, 1), now).await));
    assert!(is_unavailable(&store.renew(&id("p"), &claim(HOLDER), now).await));
    assert!(is_unavailable(&store.renew_many(&[(id("p"), claim(HOLDER))], now).await[0]));
    assert!(is_unavailable(&store.remove(&id("p"), &claim(HOLDER), now).await));
    // A read is still possible, and its response tells the time again.
    assert_eq!(listed(&store, &[], now).await.len(), 2);
    let removed = store.remove(&id("p"), &claim(HOLDER), now).await;
    assert_eq!(removed, Ok(Removal::Removed { was_live: true }));
}

#[tokio::test]
async fn without_any_sample_there_is_no_time_to_judge_leases_by() {
    let (options, proxy) = options_through_a_proxy().await;
    proxy.shift_dates(None);
    let store = open(&options).await;
    store.sweep(Timestamp::from_secs(0)).await.unwrap();
    let now = store.clock()();
    assert_eq!(now, Timestamp::from_secs(0));
    assert!(is_unavailable(&store.put(put("p", &[], HOLDER, 1), now).await));
    assert!(is_unavailable(&store.sample(&query(&[], 10), now).await));
    proxy.shift_dates(Some(0));
    store.sweep(now).await.unwrap();
    store.put(put("p", &[], HOLDER, 1), store.clock()()).await.unwrap();
    assert_eq!(listed(&store, &[], store.clock()()).await.len(), 1);
}

#[tokio::test]
async fn a_sweep_asks_for_the_time_if_there_was_no_call_for_ten_seconds() {
    let (options, proxy) = options_through_a_proxy().await;
    let store = open(&options).await;
    store.health().await.unwrap();
    proxy.take_calls();
    store.sweep(store.clock()()).await.unwrap();
    assert_eq!(proxy.take_calls(), [""; 0]);
    wait(11).await;
    for calls in [&["GetItem"][..], &[]] {
        store.sweep(store.clock()()).await.unwrap();
        assert_eq!(proxy.take_calls(), calls);
    }
}

/// On Lambda, the store trusts the caller's clock.
#[tokio::test]
async fn a_store_that_trusts_the_callers_clock_needs_no_sample() {
    let (mut options, proxy) = options_through_a_proxy().await;
    options.store_time = false;
    proxy.shift_dates(None);
    let store = open(&options).await;
    store.put(put("p", &[], HOLDER, 1), support::at(0)).await.unwrap();
    assert_eq!(listed(&store, &[], support::at(299)).await.len(), 1);
}
