//! Registers peers in a directory, restarts the store, and shows what it restored.
//!
//! `cargo run -p aurora-discovery-embedded --example restart [DIRECTORY]`: without a directory, a
//! temporary one is used, which is removed at the end.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_protocol::{DiscoverRequest, PeerId, RegisterRequest, Timestamp};
use aurora_discovery_registry::{Caller, Limits, Registry, WebOrigin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let directory = std::env::args_os().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);

    let registry = open(&directory)?.1;
    let address = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    let caller = Caller { address, page: WebOrigin::None };
    for name in ["alice", "bob", "carol"] {
        registry.register(RegisterRequest::new(PeerId::parse(name)?), &caller, now()?).await?;
    }
    println!("registered 3 peers in {}", directory.display());
    registry.store().close().await?;
    // `close` has released the directory, so another store can be opened in it.
    drop(registry);

    let (store, registry) = open(&directory)?;
    let report = store.restored();
    println!("restored {} live peers in {:?}", report.live, report.duration);
    let discovered = registry.discover(DiscoverRequest::new(10), now()?).await?;
    println!("discovered {}", String::from_utf8(discovered.peers.to_array())?);
    registry.store().close().await?;
    Ok(())
}

/// Opens the store in a directory, and a registry over it.
fn open(directory: &Path) -> Result<(Arc<EmbeddedStore>, Registry), Box<dyn Error>> {
    let limits = Limits::default();
    let options = EmbeddedOptions {
        directory: Some(directory.to_owned()),
        limits: limits.clone(),
        ..EmbeddedOptions::default()
    };
    let store = EmbeddedStore::open(options, now()?)?;
    let registry = Registry::new(store.clone(), limits)?;
    Ok((store, registry))
}

fn now() -> Result<Timestamp, Box<dyn Error>> {
    Ok(Timestamp::from_secs(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()))
}
