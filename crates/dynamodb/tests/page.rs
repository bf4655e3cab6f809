//! Tests of the cost of a page in read units.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/stand_in.rs"]
mod support;

use aurora_discovery_protocol::Metadata;
use aurora_discovery_registry::{Enumeration, Limits, Query, Store, Total};

use support::{at, fresh_table, open_within, peers_of, put, query};

const HOLDER: &str = "203.0.113.7";

/// The maximum cost of a page is proportional to its maximum size in bytes. A page of a large
/// network may exceed that cost only a little, whether the peers are live or dormant.
#[tokio::test]
async fn a_page_costs_at_most_the_read_units_that_it_may() {
    const PEERS: u16 = 1_200;
    let limits = Limits { page_bytes: 64 << 10, page_read_units: Some(64), ..Limits::default() };
    for live in [PEERS, 0] {
        let mut options = fresh_table().await;
        options.snapshot_items = 0;
        let store = open_within(&options, &limits).await;
        let puts: Vec<_> = (0..PEERS).map(|n| put(&format!("p{n}"), &["a"], HOLDER, 1)).collect();
        store.write_unchecked(&puts, at(0)).await.unwrap();
        let now = if live > 0 { at(1) } else { at(3_000) };
        for (share, enumerated) in [(1, false), (1, true), (16, false), (100, false)] {
            let page_bytes = limits.page_bytes / share;
            let cut = Query { page_bytes, ..query(&["a"], 1_000) };
            let before = store.units().read;
            let page = match enumerated {
                false => store.sample(&cut, now).await.unwrap(),
                true => match store.enumerate(&cut, None, now).await.unwrap() {
                    Enumeration::Page(page, Some(_)) => page,
                    other => panic!("{other:?}"),
                },
            };
            let (listed, read) = (peers_of(&page).len(), store.units().read - before);
            let budget = 64.0 / f64::from(u32::try_from(share).unwrap());
            assert!(read <= budget + 12.0, "{read} units of {budget} for {listed} peers");
            if live > 0 {
                assert!(listed >= 40 / share, "{listed} peers for a share of 1/{share}");
            }
        }
    }
}

/// A network is listed completely if it fits on a page and reading it costs no more than a page
/// may.
#[tokio::test]
async fn two_hundred_peers_of_legacy_clients_are_listed_whole_on_a_page_of_128_kib() {
    let options = fresh_table().await;
    let limits = Limits { page_bytes: 128 << 10, page_read_units: Some(128), ..Limits::default() };
    let store = open_within(&options, &limits).await;
    let puts: Vec<_> = (0..200).map(|n| put(&format!("p{n}"), &["a", "b"], HOLDER, 1)).collect();
    store.write_unchecked(&puts, at(0)).await.unwrap();
    let everything = Query { page_bytes: limits.page_bytes, ..query(&[], 1_000) };
    let page = store.sample(&everything, at(1)).await.unwrap();
    assert_eq!((peers_of(&page).len(), page.total), (200, Total::Exact(200)));
}

/// If the peers of a network are so large that a scan costs more than a page may, the network
/// counts as large, and the scan is not repeated for each page.
#[tokio::test]
async fn a_network_of_few_large_peers_is_sampled() {
    let options = fresh_table().await;
    let limits = Limits { page_bytes: 16 << 10, page_read_units: Some(16), ..Limits::default() };
    let store = open_within(&options, &limits).await;
    let puts: Vec<_> = (0..60)
        .map(|n| {
            let mut put = put(&format!("p{n}"), &[], HOLDER, 1);
            let metadata = format!(r#"{{"m":"{}"}}"#, "x".repeat(3_900));
            put.registration.metadata = Metadata::parse(&metadata).unwrap();
            put
        })
        .collect();
    store.write_unchecked(&puts, at(0)).await.unwrap();
    let everything = Query { page_bytes: limits.page_bytes, ..query(&[], 1_000) };
    store.sample(&everything, at(1)).await.unwrap();
    let before = store.units().read;
    let page = store.sample(&everything, at(1)).await.unwrap();
    let (listed, read) = (peers_of(&page).len(), store.units().read - before);
    assert!((1..=4).contains(&listed), "{listed} peers");
    assert!(read <= 16.0 + 12.0, "{read} units");
}
