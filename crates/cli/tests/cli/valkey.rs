//! `serve --store valkey` as users start it: the HTTP test suite on a Valkey server, and two processes
//! on one registry.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aurora_discovery_client::{Client, ClientOptions, Error};
use aurora_discovery_contract_tests::{Needs, Target};
use aurora_discovery_protocol::{
    Code, DeregisterRequest, DiscoverRequest, HeartbeatRequest, PeerId, RegisterRequest,
};

use crate::command::{Running, Service, run};
use crate::transfer::moves_through_a_shared_store;

/// The maximum delay until another process's write is visible.
const LAG: Duration = Duration::from_secs(5);

aurora_discovery_contract_tests::contract_suite!(serve);

/// The name of a registry that no other test uses.
fn registry() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, next) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    // A process id alone is not unique, because an earlier process may have had the same one.
    format!("serve-{process}-{:x}-{next}", fastrand::u64(..))
}

fn url() -> String {
    std::env::var("AURORA_TEST_VALKEY_URL")
        .expect("AURORA_TEST_VALKEY_URL is not set; run this by scripts/valkey run …")
}

fn start(registry: &str, more: &[&str]) -> (String, Running) {
    let url = url();
    let mut arguments = vec!["--store", "valkey", "--valkey-url", &url, "--valkey-name", registry];
    arguments.extend(more);
    let Service { endpoint, running } = Service::start(&arguments);
    (endpoint, running)
}

/// Skips tests that set the clock, because the service uses the clock of the server.
async fn serve(needs: Needs) -> Option<Target> {
    if needs.settable_clock {
        return None;
    }
    let max_peers = needs.max_peers.map(|count| format!("--max-peers={count}"));
    let more: Vec<&str> = max_peers.as_deref().into_iter().collect();
    let (url, serving) = start(&registry(), &more);
    Some(Target::new(url, serving))
}

fn client(url: &str) -> Client {
    Client::new(ClientOptions::new(url)).unwrap()
}

fn id() -> PeerId {
    PeerId::parse("peer").unwrap()
}

/// The ports of the peers that `client` lists: as soon as they satisfy the condition, or else after
/// the maximum delay.
async fn ports(client: &Client, satisfy: impl Fn(&[u16]) -> bool) -> Vec<u16> {
    let started = Instant::now();
    loop {
        let is_last = started.elapsed() > LAG;
        let listed = client.discover(&DiscoverRequest::new(1_000)).await.unwrap();
        let ports: Vec<u16> = listed.page.peers.iter().map(|peer| peer.port).collect();
        if satisfy(&ports) || is_last {
            return ports;
        }
    }
}

#[tokio::test]
async fn a_peer_registered_at_one_process_is_discovered_renewed_and_deregistered_at_another() {
    let registry = registry();
    let ((one, _first), (other, _second)) = (start(&registry, &[]), start(&registry, &[]));
    let (one, other) = (client(&one), client(&other));
    one.register(&RegisterRequest { port: 9_000, ..RegisterRequest::new(id()) }).await.unwrap();
    assert_eq!(ports(&other, |ports| !ports.is_empty()).await, [9_000]);
    other.heartbeat(&HeartbeatRequest::new(id())).await.unwrap();
    other.deregister(&DeregisterRequest { peer_id: id(), lease_token: None }).await.unwrap();
    assert_eq!(ports(&one, <[u16]>::is_empty).await, [0_u16; 0]);
    let unknown = one.heartbeat(&HeartbeatRequest::new(id())).await.unwrap_err();
    assert!(
        matches!(&unknown, Error::Refused { body, .. } if body.code == Code::PeerNotRegistered),
        "{unknown:?}"
    );
}

#[test]
fn a_server_that_does_not_exist_is_reported_at_the_start() {
    let refused = run(&[
        "serve",
        "--store",
        "valkey",
        "--valkey-url",
        "redis://127.0.0.1:1",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("Valkey can't be used"), "{}", refused.err);
    let nameless = run(&["serve", "--store", "valkey", "--listen", "127.0.0.1:0"]);
    assert_eq!(nameless.code, 2, "{}", nameless.err);
    assert!(nameless.err.contains("must name the Valkey server"), "{}", nameless.err);
}

#[test]
fn a_network_moves_from_a_directory_to_valkey_and_back() {
    let (name, url) = (registry(), url());
    let on_valkey = ["--store", "valkey", "--valkey-url", &url, "--valkey-name", &name];
    moves_through_a_shared_store(&on_valkey, || {
        let (endpoint, running) = start(&name, &[]);
        Service { endpoint, running }
    });
}
