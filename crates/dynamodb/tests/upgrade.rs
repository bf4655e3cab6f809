//! Tests that this version serves a table that release 890211c filled.
//!
//! The fixture is a scan of that table, in DynamoDB's JSON, together with the list that the release
//! itself returned at that moment. The table contains live peers, one of which was renewed and one
//! replaced. It also contains two dormant peers. One of these, `delisted`, had been removed from
//! the index. The peer `deregistered` has left no item in the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/stand_in.rs"]
mod support;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore, connect};
use aurora_discovery_protocol::{LeaseToken, Timestamp};
use aurora_discovery_registry::{
    Claim, Enumeration, PutResult, Removal, Renewal, Store, TokenHash, WebOrigin,
};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use support::{at, claim, fresh_table, id, items, listed, open, put, query};

#[derive(Deserialize)]
struct Fixture {
    /// When the table was scanned, in seconds since the epoch. Leases start at about that time.
    read_at: u64,
    lease_tokens: HashMap<String, String>,
    /// The list that the release returned, in the full view.
    listed: Vec<Value>,
    items: Vec<HashMap<String, Attribute>>,
}

/// An attribute, of the types that the store writes.
#[derive(Deserialize)]
enum Attribute {
    S(String),
    N(String),
    B(String),
}

impl From<Attribute> for AttributeValue {
    fn from(attribute: Attribute) -> Self {
        match attribute {
            Attribute::S(text) => Self::S(text),
            Attribute::N(digits) => Self::N(digits),
            Attribute::B(base64) => Self::B(Blob::new(STANDARD.decode(base64).unwrap())),
        }
    }
}

/// The sources that the peers of the fixture registered from.
const HOLDER: &str = "203.0.113.7";
const HOLDER_OF_DELISTED: &str = "203.0.113.9";
const STRANGER: &str = "192.0.2.1";

/// A new table with the items of the fixture.
struct Upgraded {
    options: DynamoOptions,
    now: Timestamp,
    lease_tokens: HashMap<String, String>,
    listed: Vec<Value>,
}

impl Upgraded {
    async fn table() -> Self {
        let fixture: Fixture = serde_json::from_str(include_str!("fixtures/table-890211c.json")).unwrap();
        let options = fresh_table().await;
        let client = connect(&options).await.unwrap();
        for item in fixture.items {
            let item = item.into_iter().map(|(name, value)| (name, value.into())).collect();
            client.put_item().table_name(&options.table).set_item(Some(item)).send().await.unwrap();
        }
        let now = Timestamp::from_secs(fixture.read_at);
        Self { options, now, lease_tokens: fixture.lease_tokens, listed: fixture.listed }
    }

    /// Two stores, as in two processes: one uses snapshots, and one reads the index.
    async fn stores(&self) -> [Arc<DynamoStore>; 2] {
        let mut from_index = self.options.clone();
        from_index.snapshot_items = 0;
        [open(&self.options).await, open(&from_index).await]
    }

    fn after(&self, seconds: u64) -> Timestamp {
        self.now.plus_millis(seconds * 1_000)
    }

    fn token(&self, peer: &str) -> TokenHash {
        TokenHash::of(&LeaseToken::parse(&self.lease_tokens[peer]).unwrap())
    }
}

/// Peers by id, without the fields that depend on the time of the request.
fn by_id(peers: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let without_ages = |mut peer: Value| {
        for age in ["expires_in_seconds", "registered_seconds_ago"] {
            peer.as_object_mut().unwrap().remove(age);
        }
        (peer["peer_id"].as_str().unwrap().to_owned(), peer)
    };
    peers.into_iter().map(without_ages).collect()
}

async fn names(store: &DynamoStore, archetype: &str, now: Timestamp) -> Vec<String> {
    listed(store, &[archetype], now).await.into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn peers_of_the_earlier_release_are_listed_unchanged() {
    let table = Upgraded::table().await;
    let expected = by_id(table.listed.clone());
    assert_eq!(expected.len(), 9);
    for store in table.stores().await {
        let page = store.sample(&query(&[], 100), table.now).await.unwrap();
        let peers: Vec<Value> = serde_json::from_slice(&page.peers.to_array()).unwrap();
        assert_eq!(by_id(peers), expected);
        let Ok(Enumeration::Page(page, None)) = store.enumerate(&query(&[], 100), None, table.now).await
        else {
            panic!("the enumeration has more than one page")
        };
        let peers: Vec<Value> = serde_json::from_slice(&page.peers.to_array()).unwrap();
        assert_eq!(by_id(peers), expected);
        for (archetype, peers) in [
            ("日本語 🌌", &["unicode"][..]),
            ("two words", &["unicode"]),
            ("e\u{301}a", &["unicode"]),
            ("#0", &["unicode"]),
            ("relay", &["named"]),
            ("both", &["replaced"]),
            ("new", &["replaced"]),
            ("old", &[]),
            ("gone", &[]),
            ("away", &[]),
        ] {
            assert_eq!(names(&store, archetype, table.now).await, peers, "{archetype}");
        }
        assert_eq!(names(&store, "pepino", table.now).await.len(), 5);
    }
    // Only the store with snapshots has an exact census. The other one estimates.
    let [reads_all, _] = table.stores().await;
    let census = reads_all.census(100, table.now).await.unwrap();
    assert_eq!((census.live, census.dormant), (9, 2));
}

#[tokio::test]
async fn leases_of_the_earlier_release_are_renewed_and_its_dormant_peers_revived() {
    let table = Upgraded::table().await;
    let [one, other] = table.stores().await;
    for peer in table.listed.iter().map(|peer| peer["peer_id"].as_str().unwrap()) {
        let renewed = one.renew(&id(peer), &claim(HOLDER), table.after(60)).await;
        assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{peer}: {renewed:?}");
    }
    for peer in ["dormant", "delisted"] {
        let revived = one.renew(&id(peer), &claim(HOLDER), table.after(60)).await;
        assert!(matches!(revived, Ok(Renewal::Renewed { revived: true, .. })), "{peer}: {revived:?}");
    }
    assert_eq!(one.renew(&id("deregistered"), &claim(HOLDER), table.after(60)).await, Ok(Renewal::Unknown));
    // At 60 s, all 11 peers are live. At 3,650 s, only those with leases of 3,600 s are live. The
    // revived peers have leases of 1 s, and peers that requested no duration have leases of 300 s.
    for store in [&one, &other] {
        assert_eq!(listed(store, &[], table.after(60)).await.len(), 11);
        assert_eq!(names(store, "away", table.after(60)).await, ["delisted"]);
        assert_eq!(names(store, "pepino", table.after(60)).await.len(), 7);
        assert_eq!(listed(store, &[], table.after(3_650)).await.len(), 8);
    }
}

/// The previous release ignores attributes that it does not know, and writes none of them.
#[tokio::test]
async fn peers_of_this_release_are_served_and_renewed_without_its_new_attributes() {
    let options = fresh_table().await;
    let store = open(&options).await;
    let mut written = put("p", &["a"], HOLDER, 1);
    written.token_only = true;
    written.claim.page = WebOrigin::of_header(b"https://page.example");
    let with_token = Claim { token: Some(written.new_token), ..claim(STRANGER) };
    store.put(written, at(0)).await.unwrap();
    let known = ["peer_id", "reg", "expires_at", "seen", "since", "lease", "holder", "gen", "marked", "ttl"];
    let index = ["lane", "h"];

    let [mut item] = items(&options, "p").await.try_into().unwrap();
    assert!(known.iter().chain(&index).all(|name| item.contains_key(*name)), "{item:?}");
    // Another table gets the item without the new attributes, which is how the previous release
    // reads it.
    item.retain(|name, _| known.contains(&name.as_str()) || index.contains(&name.as_str()));
    let other = fresh_table().await;
    let client = connect(&other).await.unwrap();
    for item in items(&options, " ").await.into_iter().chain([item]) {
        client.put_item().table_name(&other.table).set_item(Some(item)).send().await.unwrap();
    }
    let reader = open(&other).await;
    assert_eq!(listed(&reader, &["a"], at(1)).await, [("p".to_owned(), 9001)]);
    let renewed = reader.renew(&id("p"), &claim(HOLDER), at(200)).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{renewed:?}");
    assert_eq!(listed(&reader, &["a"], at(499)).await.len(), 1);

    renew_as_the_release_before(&options, at(200)).await;
    let refused = store.renew(&id("p"), &claim(HOLDER), at(201)).await;
    assert!(matches!(refused, Ok(Renewal::Held(_))), "still token-only: {refused:?}");
    let renewed = store.renew(&id("p"), &with_token, at(201)).await;
    assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{renewed:?}");
}

/// Makes a renewal like the previous release, which changes single attributes and keeps the others.
async fn renew_as_the_release_before(options: &DynamoOptions, now: Timestamp) {
    let number = |value: u64| AttributeValue::N(value.to_string());
    let expires_at = now.plus_millis(400_000).as_millis();
    let client = connect(options).await.unwrap();
    let update = client
        .update_item()
        .table_name(&options.table)
        .key("peer_id", AttributeValue::S("p".to_owned()))
        .update_expression("SET expires_at = :e, seen = :s")
        .condition_expression("expires_at < :e")
        .expression_attribute_values(":e", number(expires_at))
        .expression_attribute_values(":s", number(now.as_millis()));
    update.send().await.unwrap();
}

#[tokio::test]
async fn a_peer_of_the_earlier_release_is_free_twelve_leases_after_it_was_last_seen_unless_proven() {
    let table = Upgraded::table().await;
    let [one, _] = table.stores().await;
    // The lease of `ipv6` lasts 3,600 s.
    for hours in 1..=12 {
        let renewed = one.renew(&id("ipv6"), &claim(STRANGER), table.after(hours * 3_500)).await;
        assert!(matches!(renewed, Ok(Renewal::Renewed { revived: false, .. })), "{renewed:?}");
    }
    let held = one.put(put("ipv6", &[], "198.51.100.9", 1), table.after(42_100)).await;
    assert!(matches!(held, Ok(PutResult::Held(_))), "{held:?}");
    let free = one.put(put("ipv6", &[], "198.51.100.9", 1), table.after(43_300)).await;
    assert!(matches!(free, Ok(PutResult::Stored { .. })), "{free:?}");
}

#[tokio::test]
async fn only_holders_replace_and_deregister_peers_of_the_earlier_release() {
    let table = Upgraded::table().await;
    let [one, other] = table.stores().await;
    let now = table.after(1);
    let refused = one.put(put("unicode", &["mine"], STRANGER, 1), now).await;
    assert!(matches!(refused, Ok(PutResult::Held { .. })), "{refused:?}");
    let refused = one.remove(&id("unicode"), &claim(STRANGER), now).await;
    assert!(matches!(refused, Ok(Removal::Held { .. })), "{refused:?}");

    let by_source = one.put(put("unicode", &["#0", "fresh"], HOLDER, 2), now).await;
    assert_eq!(by_source, Ok(PutResult::Stored { token_kept: false }));
    let mut by_token = put("renewed", &["fresh"], STRANGER, 3);
    by_token.claim.token = Some(table.token("renewed"));
    assert_eq!(one.put(by_token, now).await, Ok(PutResult::Stored { token_kept: true }));
    let dormant = one.put(put("delisted", &["fresh"], HOLDER_OF_DELISTED, 4), now).await;
    assert_eq!(dormant, Ok(PutResult::Stored { token_kept: false }));
    for store in [&one, &other] {
        assert_eq!(names(store, "fresh", now).await, ["delisted", "renewed", "unicode"]);
        assert_eq!(names(store, "#0", now).await, ["unicode"]);
        assert_eq!(names(store, "日本語 🌌", now).await, [""; 0]);
    }

    let mut by_token = claim(STRANGER);
    by_token.token = Some(table.token("ipv6"));
    for (peer, by) in [("named", &claim(HOLDER)), ("ipv6", &by_token)] {
        assert_eq!(one.remove(&id(peer), by, now).await, Ok(Removal::Removed { was_live: true }), "{peer}");
    }
    assert_eq!(one.remove(&id("deregistered"), &claim(HOLDER), now).await, Ok(Removal::Unknown));
    for store in table.stores().await {
        assert_eq!(listed(&store, &[], now).await.len(), 8);
        assert_eq!(names(&store, "relay", now).await, [""; 0]);
    }
}
