//! Helpers for the tests on a DynamoDB stand-in. The endpoint of the stand-in comes from the
//! environment, where `scripts/dynamodb-local` sets it.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "recorder.rs"]
mod recorder;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore, connect, create_table};
use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, LeaseToken, Metadata, Peer, PeerId, Registration, Timestamp, Ttl, View,
};
use aurora_discovery_registry::{
    Claim, Limits, Page, PutRequest, Query, Signing, Source, Store as _, TokenHash, WebOrigin,
};
use aws_sdk_dynamodb::types::AttributeValue;

pub(crate) fn endpoint() -> String {
    std::env::var("AURORA_DYNAMODB_ENDPOINT")
        .expect("AURORA_DYNAMODB_ENDPOINT is not set; run this with `scripts/dynamodb-local run local …`")
}

/// A unique table name. It has a random part, because the system may reuse the id of a process that
/// has ended.
pub(crate) fn table_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, next) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("aurora-peers-test-{process}-{:x}-{next}", fastrand::u64(..))
}

/// Options with long deadlines, for a stand-in on a busy machine. Tests that are not about
/// deadlines must not miss one.
pub(crate) fn with_long_deadlines(table: String) -> DynamoOptions {
    let mut options = DynamoOptions::new(table);
    options.deadline = Duration::from_secs(60);
    options.attempt_timeout = Duration::from_secs(20);
    options
}

/// The options of a new table in the stand-in. Its time to live is disabled, because the tests use
/// artificial times.
pub(crate) async fn fresh_table() -> DynamoOptions {
    let mut options = with_long_deadlines(table_name());
    options.endpoint = Some(endpoint());
    create_table(&connect(&options).await.expect("a client"), &options.table, false)
        .await
        .expect("the stand-in must create a table");
    options
}

pub(crate) async fn open(options: &DynamoOptions) -> Arc<DynamoStore> {
    open_within(options, &Limits::default()).await
}

pub(crate) async fn open_within(options: &DynamoOptions, limits: &Limits) -> Arc<DynamoStore> {
    let client = recorder::recorded(connect(options).await.expect("a client"));
    Arc::new(DynamoStore::new(client, options.clone(), limits))
}

/// 2025-10-02T12:00:00 plus this many seconds.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_759_406_400 + seconds)
}

pub(crate) fn id(name: &str) -> PeerId {
    PeerId::parse(name).unwrap()
}

/// A registration from `source` with the token of this number.
pub(crate) fn put(name: &str, archetypes: &[&str], source: &str, token: u8) -> PutRequest {
    let ip: IpAddr = source.parse().unwrap();
    PutRequest {
        registration: Registration {
            peer_id: id(name),
            address: Address::from(ip),
            port: 9000 + u16::from(token),
            archetypes: Archetypes::parse(archetypes).unwrap(),
            metadata: Metadata::parse(r#"{"version":"1.0.0","capabilities":["tensor-exchange"]}"#).unwrap(),
        },
        ttl: Ttl::from_secs(300),
        claim: claim(source),
        token_only: false,
        new_token: TokenHash::of(&LeaseToken::from_random([token; 16])),
        signing: Signing::Unsigned,
    }
}

pub(crate) fn claim(source: &str) -> Claim {
    Claim {
        source: Source::of(source.parse().unwrap()),
        page: WebOrigin::None,
        token: None,
        holder_rule_disabled: false,
    }
}

pub(crate) fn query(archetypes: &[&str], limit: usize) -> Query {
    let mut archetypes: Vec<_> = archetypes.iter().map(|name| Archetype::parse(name).unwrap()).collect();
    archetypes.sort();
    Query {
        archetypes,
        exclude: None,
        view: View::Legacy,
        limit,
        page_bytes: 1 << 20,
        diverse: false,
        fill: false,
    }
}

/// The items of the table whose keys begin with `prefix`.
pub(crate) async fn items(options: &DynamoOptions, prefix: &str) -> Vec<HashMap<String, AttributeValue>> {
    let client = connect(options).await.unwrap();
    let scanned = client.scan().table_name(&options.table).consistent_read(true).send().await.unwrap();
    assert!(scanned.last_evaluated_key.is_none(), "the table fits one page");
    let has_prefix =
        |item: &HashMap<String, AttributeValue>| item["peer_id"].as_s().unwrap().starts_with(prefix);
    scanned.items.unwrap().into_iter().filter(has_prefix).collect()
}

/// The ids and ports that a query lists, sorted.
pub(crate) async fn listed(store: &DynamoStore, archetypes: &[&str], now: Timestamp) -> Vec<(String, u16)> {
    let page = store.sample(&query(archetypes, 1_000), now).await.expect("a sample");
    peers_of(&page)
}

pub(crate) fn peers_of(page: &Page) -> Vec<(String, u16)> {
    let peers: Vec<Peer> = serde_json::from_slice(&page.peers.to_array()).unwrap();
    let mut listed: Vec<_> = peers.into_iter().map(|peer| (peer.peer_id.to_string(), peer.port)).collect();
    listed.sort();
    listed
}
