//! A service in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aurora_discovery_contract_tests::{Needs, Target};
use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_http::{Clock, KeyRing, Keys, Scopes, Server, ServerOptions, key_line};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, Registry};
use tempfile::TempDir;

/// The start time of the simulated clock: 2025-10-02T12:00:00, plus a fraction of a second.
const START_MILLIS: u64 = 1_759_406_400_789;

/// The API key that may administer the service.
const ADMIN_KEY: &str = "key-of-an-operator";

/// Starts a service on an unused port with a simulated clock. The service stops when the runtime of
/// the test does.
pub(crate) async fn start(needs: Needs, directory: Option<TempDir>, trusted_hops: usize) -> Target {
    let elapsed = Arc::new(AtomicU64::new(0));
    let clock = {
        let elapsed = Arc::clone(&elapsed);
        Clock::new(move || Timestamp::from_millis(START_MILLIS + elapsed.load(Ordering::Relaxed)))
    };
    let mut options = ServerOptions::default();
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    options.trusted_hops = trusted_hops;
    options.service.clock = clock.clone();
    let keys = key_line("operator", Scopes::parse("admin").unwrap(), ADMIN_KEY);
    options.service.keys = Some(KeyRing::new(Keys::parse(&keys).unwrap()));
    let mut limits = Limits::default();
    limits.max_peers = needs.max_peers.unwrap_or(limits.max_peers);
    let path = directory.as_ref().map(|directory| directory.path().to_owned());
    let embedded = EmbeddedOptions { directory: path, limits: limits.clone(), ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(embedded, clock.now()).unwrap();
    let server = Server::bind(options, Arc::new(Registry::new(store, limits).unwrap())).await.unwrap();
    let address = server.local_addr();
    let serving = tokio::spawn(server.serve(std::future::pending()));
    let mut target = Target::new(format!("http://{address}"), (directory, serving));
    target.admin_key = Some(ADMIN_KEY.to_owned());
    target.advance_clock = Some(Box::new(move |seconds| {
        elapsed.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }));
    target
}
