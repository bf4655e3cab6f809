//! Registers a peer and discovers it, at the DynamoDB endpoint that `AURORA_DYNAMODB_ENDPOINT`
//! names. The README of this crate shows how to run this program on DynamoDB Local.
#![allow(clippy::print_stdout, reason = "it prints what it found")]

use std::error::Error;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aurora_discovery_dynamodb::{DynamoOptions, DynamoStore, connect, create_table};
use aurora_discovery_protocol::{Archetypes, DiscoverRequest, PeerId, RegisterRequest, Timestamp};
use aurora_discovery_registry::{Caller, Limits, Registry, WebOrigin};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut options = DynamoOptions::new("aurora-peers-example");
    options.endpoint = std::env::var("AURORA_DYNAMODB_ENDPOINT").ok();
    let client = connect(&options).await?;
    create_table(&client, &options.table, true).await?;

    let limits = Limits::default();
    let store = DynamoStore::new(client, options, &limits);
    let registry = Registry::new(Arc::new(store), limits)?;

    // Time is an argument of every operation. This program takes it from the system's clock.
    let now = Timestamp::from_secs(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    let caller = Caller { address: "203.0.113.7".parse()?, page: WebOrigin::None };
    let mut request = RegisterRequest::new(PeerId::parse("peer-1")?);
    request.archetypes = Archetypes::parse(&["relay"])?;
    let registered = registry.register(request, &caller, now).await?;
    println!("{} is registered for {} s", registered.peer_id, registered.lease.ttl.as_secs());

    let page = registry.discover(DiscoverRequest::new(20), now).await?;
    println!("{}", String::from_utf8(page.peers.to_array())?);
    Ok(())
}
