//! The schedule of the demo: which peer joins, leaves or crashes, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use aurora_discovery_client::{Client, Event, LeaseKeeper};
use aurora_discovery_protocol::{DiscoverRequest, PeerId, RegisterRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::network::Network;
use super::{PEERS_PER_REQUEST, TTL, names};

/// The maximum number of reports that wait to be shown. Further reports are dropped, which affects
/// the display but not the network.
pub(super) const MAX_REPORTS: usize = 4_096;
/// The time between the first peers' registrations.
const JOIN_INTERVAL: Duration = Duration::from_millis(120);
/// The time between two random events, after the first peers have registered.
const ACTION_INTERVAL: Duration = Duration::from_millis(900);

/// A peer, and an event of its lease.
pub(super) type Report = (PeerId, Event);

/// The peers of the demo, and the next event.
pub(super) struct Schedule {
    client: Client,
    target_peers: usize,
    reports: mpsc::Sender<Report>,
    keepers: BTreeMap<PeerId, LeaseKeeper>,
    /// Peers that are deregistering.
    leaving: JoinSet<()>,
    joined: usize,
    actions: usize,
    next_at: Option<Instant>,
}

/// A random event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Join,
    Leave,
    Crash,
}

impl Schedule {
    pub(super) fn new(client: Client, target_peers: usize, reports: mpsc::Sender<Report>) -> Self {
        Self {
            client,
            target_peers,
            reports,
            keepers: BTreeMap::new(),
            leaving: JoinSet::new(),
            joined: 0,
            actions: 0,
            next_at: None,
        }
    }

    /// Starts the events that are due at `now`. Returns lines that describe them.
    pub(super) fn advance(&mut self, network: &mut Network, now: Instant) -> Vec<String> {
        // Finished tasks are removed, so that the set does not grow during a long demo.
        while self.leaving.try_join_next().is_some() {}
        if self.next_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        // All peers join first, one after the other. Random events follow.
        let starting = self.joined < self.target_peers;
        self.next_at = Some(now + if starting { JOIN_INTERVAL } else { ACTION_INTERVAL });
        match if starting { Action::Join } else { self.next_action() } {
            Action::Join => self.join(network),
            Action::Leave => self.leave(network),
            Action::Crash => return self.crash(network, now),
        }
        Vec::new()
    }

    /// Deregisters all peers.
    pub(super) async fn stop_all(mut self) {
        for (_, keeper) in std::mem::take(&mut self.keepers) {
            self.leaving.spawn(async move {
                // If the deregistration fails, the lease expires soon.
                let _ = keeper.stop().await;
            });
        }
        while self.leaving.join_next().await.is_some() {}
    }

    /// The next event: at first each kind at least once, so that a short demo shows them all, and
    /// then random ones, which keep the number of peers near the configured one.
    fn next_action(&mut self) -> Action {
        const FIRST: [Action; 4] = [Action::Crash, Action::Leave, Action::Join, Action::Join];
        let first = FIRST.get(self.actions).copied();
        self.actions += 1;
        first.unwrap_or_else(|| {
            if self.keepers.len() + 1 < self.target_peers {
                Action::Join
            } else if self.keepers.len() > self.target_peers + 1 {
                fastrand::choice([Action::Leave, Action::Crash]).unwrap_or(Action::Leave)
            } else {
                fastrand::choice([Action::Join, Action::Join, Action::Leave, Action::Crash])
                    .unwrap_or(Action::Join)
            }
        })
    }

    fn join(&mut self, network: &mut Network) {
        let Some(id) = names::peer_id(self.joined) else { return };
        self.joined += 1;
        let registration = RegisterRequest {
            port: 9_000,
            archetypes: names::archetypes(),
            ttl: Some(TTL),
            discover: Some(DiscoverRequest {
                exclude: Some(id.clone()),
                ..DiscoverRequest::new(PEERS_PER_REQUEST)
            }),
            ..RegisterRequest::new(id.clone())
        };
        network.add(&registration);
        let (reports, reporter) = (self.reports.clone(), id.clone());
        let keeper = LeaseKeeper::start(self.client.clone(), registration, move |event| {
            // If the display falls behind, it misses this event.
            let _ = reports.try_send((reporter.clone(), event));
        });
        self.keepers.insert(id, keeper);
    }

    fn leave(&mut self, network: &mut Network) {
        let Some((id, keeper)) = self.take_random_peer() else { return };
        self.leaving.spawn(async move {
            // If the deregistration fails, the lease expires, as after a crash.
            let _ = keeper.stop().await;
        });
        network.set_leaving(&id);
    }

    fn crash(&mut self, network: &mut Network, now: Instant) -> Vec<String> {
        let Some((id, keeper)) = self.take_random_peer() else { return Vec::new() };
        // A dropped keeper sends nothing more, as after a crash.
        drop(keeper);
        network.set_crashed(&id, now)
    }

    fn take_random_peer(&mut self) -> Option<(PeerId, LeaseKeeper)> {
        let id = fastrand::choice(self.keepers.keys().cloned().collect::<Vec<_>>())?;
        self.keepers.remove_entry(&id)
    }
}
