//! Tests of processes on one shared store, for each kind of store.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use aurora_discovery_client::{Client, ClientOptions, Error};
use aurora_discovery_protocol::{
    Code, DeregisterRequest, DiscoverRequest, HeartbeatRequest, PeerId, RegisterRequest,
};

use crate::command::Running;

/// The maximum delay until another process's write is visible. The API allows five seconds, which a
/// busy machine may exceed.
pub(crate) const LAG: Duration = Duration::from_secs(60);

/// The name of a registry that no other test uses.
pub(crate) fn unused_name(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, next) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    // A process id alone is not unique, because an earlier process may have had the same one.
    format!("{prefix}-{process}-{:x}-{next}", fastrand::u64(..))
}

pub(crate) fn client(url: &str) -> Client {
    Client::new(ClientOptions::new(url)).unwrap()
}

pub(crate) fn id() -> PeerId {
    PeerId::parse("peer").unwrap()
}

/// Lists the peers until their ports satisfy the condition, but no longer than the maximum delay.
/// Returns the last ports.
pub(crate) async fn ports(client: &Client, satisfy: impl Fn(&[u16]) -> bool) -> Vec<u16> {
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

/// Registers a peer at one process, and discovers, renews and deregisters it at another. `start`
/// starts a process on the registry that both share, which must be empty.
pub(crate) async fn two_processes_share_a_peer(start: impl Fn() -> (String, Running)) {
    let ((one, _first), (other, _second)) = (start(), start());
    let (one, other) = (client(&one), client(&other));
    assert_eq!(ports(&other, |_| true).await, [0_u16; 0]);

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
