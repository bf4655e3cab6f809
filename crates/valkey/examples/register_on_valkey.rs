//! Registers a peer and discovers it, on the Valkey server that `AURORA_TEST_VALKEY_URL` names. The
//! README of this crate shows how to run it.
#![allow(clippy::print_stdout, reason = "it prints what it found")]

use std::error::Error;
use std::sync::Arc;

use aurora_discovery_protocol::{Archetypes, DiscoverRequest, PeerId, RegisterRequest};
use aurora_discovery_registry::{Caller, Limits, Registry, WebOrigin};
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AURORA_TEST_VALKEY_URL")?;
    let limits = Limits::default();
    let store = ValkeyStore::open(ValkeyOptions::new(url), limits.clone()).await?;
    let clock = store.clock();
    let registry = Registry::new(Arc::new(store), limits)?;

    let caller = Caller { address: "203.0.113.7".parse()?, page: WebOrigin::None };
    let mut request = RegisterRequest::new(PeerId::parse("peer-1")?);
    request.archetypes = Archetypes::parse(&["relay"])?;
    let registered = registry.register(request, &caller, clock()).await?;
    println!("{} is registered for {} s", registered.peer_id, registered.lease.ttl.as_secs());

    let page = registry.discover(DiscoverRequest::new(20), clock()).await?;
    println!("{}", String::from_utf8(page.peers.to_array())?);
    Ok(())
}
