//! The schedule of the demo: which peer joins, leaves or crashes, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use aurora_discovery_client::{Client, Event, LeaseKeeper};
use aurora_discovery_protocol::{DiscoverRequest, PeerId, RegisterRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::network::Network;
use super::{ASKED, TTL, cast};

/// The maximum number of reports that wait to be shown. Further reports are dropped from the
/// picture; the network is not affected.
pub(super) const MOST_REPORTS: usize = 4_096;
/// The time between the first peers' registrations.
const ENTRANCE: Duration = Duration::from_millis(120);
/// The time between two random events afterwards.
const TURN: Duration = Duration::from_millis(900);

/// An event of the lease of a peer.
pub(super) type Report = (PeerId, Event);

/// The peers of the demo, and the next event.
pub(super) struct Stage {
    client: Client,
    wanted: usize,
    reports: mpsc::Sender<Report>,
    keepers: BTreeMap<PeerId, LeaseKeeper>,
    /// Peers that are deregistering.
    leaving: JoinSet<()>,
    entered: usize,
    turns: usize,
    next_at: Option<Instant>,
}

/// A random event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Join,
    Leave,
    Crash,
}

impl Stage {
    pub(super) fn new(client: Client, wanted: usize, reports: mpsc::Sender<Report>) -> Self {
        Self {
            client,
            wanted,
            reports,
            keepers: BTreeMap::new(),
            leaving: JoinSet::new(),
            entered: 0,
            turns: 0,
            next_at: None,
        }
    }

    /// Starts the events that are due at `now`. Returns lines that describe them.
    pub(super) fn act(&mut self, network: &mut Network, now: Instant) -> Vec<String> {
        while self.leaving.try_join_next().is_some() {}
        if self.next_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        let opening = self.entered < self.wanted;
        self.next_at = Some(now + if opening { ENTRANCE } else { TURN });
        match if opening { Turn::Join } else { self.turn() } {
            Turn::Join => self.join(network),
            Turn::Leave => self.leave(network),
            Turn::Crash => return self.crash(network, now),
        }
        Vec::new()
    }

    /// Lets all peers leave.
    pub(super) async fn end(mut self) {
        for (_, keeper) in std::mem::take(&mut self.keepers) {
            self.leaving.spawn(async move {
                // The service ends right afterwards, so a failure has no effect.
                let _ = keeper.stop().await;
            });
        }
        while self.leaving.join_next().await.is_some() {}
    }

    /// First each event once, so that a short demo shows them all. Then random events, which keep
    /// the number of peers near the configured one.
    fn turn(&mut self) -> Turn {
        const FIRST: [Turn; 4] = [Turn::Crash, Turn::Leave, Turn::Join, Turn::Join];
        let first = FIRST.get(self.turns).copied();
        self.turns += 1;
        first.unwrap_or_else(|| {
            if self.keepers.len() + 1 < self.wanted {
                Turn::Join
            } else if self.keepers.len() > self.wanted + 1 {
                fastrand::choice([Turn::Leave, Turn::Crash]).unwrap_or(Turn::Leave)
            } else {
                fastrand::choice([Turn::Join, Turn::Join, Turn::Leave, Turn::Crash]).unwrap_or(Turn::Join)
            }
        })
    }

    fn join(&mut self, network: &mut Network) {
        let Some(id) = cast::peer_id(self.entered) else { return };
        self.entered += 1;
        let registration = RegisterRequest {
            port: 9_000,
            archetypes: cast::archetypes(),
            ttl: Some(TTL),
            discover: Some(DiscoverRequest { exclude: Some(id.clone()), ..DiscoverRequest::new(ASKED) }),
            ..RegisterRequest::new(id.clone())
        };
        network.enters(&registration);
        let (reports, reporter) = (self.reports.clone(), id.clone());
        let keeper = LeaseKeeper::start(self.client.clone(), registration, move |event| {
            // A picture that is behind misses a heartbeat.
            let _ = reports.try_send((reporter.clone(), event));
        });
        self.keepers.insert(id, keeper);
    }

    fn leave(&mut self, network: &mut Network) {
        let Some((id, keeper)) = self.anybody() else { return };
        self.leaving.spawn(async move {
            // A failure here equals a crash: the lease expires.
            let _ = keeper.stop().await;
        });
        network.leaves(&id);
    }

    fn crash(&mut self, network: &mut Network, now: Instant) -> Vec<String> {
        let Some((id, keeper)) = self.anybody() else { return Vec::new() };
        drop(keeper);
        network.crashes(&id, now)
    }

    fn anybody(&mut self) -> Option<(PeerId, LeaseKeeper)> {
        let id = fastrand::choice(self.keepers.keys().cloned().collect::<Vec<_>>())?;
        self.keepers.remove_entry(&id)
    }
}
