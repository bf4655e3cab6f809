//! What a store remembers between calls: the last scan, the last census, and dormant peers that
//! samples found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::Census;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::item::Stored;
use crate::lane::Place;

/// All peers of a small network, by their place on the ring.
pub(crate) type Peers = BTreeMap<Place, Arc<Stored>>;

/// The state of the network.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    /// Every peer, including the recent writes of this process.
    Small(Arc<Peers>),
    /// Too large to be read completely.
    Large,
}

/// The last scan and its result.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    pub(crate) last: RwLock<Option<Snapshot>>,
    /// Held by the caller that scans. Other callers wait for its result.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

/// The result of a scan, and when it expires.
#[derive(Clone, Debug)]
pub(crate) enum Snapshot {
    Small { peers: Arc<Peers>, until: Instant },
    Large { until: Instant },
}

impl Snapshot {
    pub(crate) fn serves_at(&self, time: Instant) -> bool {
        let (Self::Small { until, .. } | Self::Large { until }) = self;
        time < *until
    }
}

/// The last census of a large network.
#[derive(Debug, Default)]
pub(crate) struct LastCensus(Mutex<Option<(Instant, Census)>>);

impl LastCensus {
    /// The last census, if it is younger than `hold`.
    pub(crate) fn younger_than(&self, hold: Duration) -> Option<Census> {
        let last = self.0.lock();
        last.as_ref().filter(|(at, _)| at.elapsed() < hold).map(|(_, census)| census.clone())
    }

    pub(crate) fn remember(&self, census: &Census) {
        *self.0.lock() = Some((Instant::now(), census.clone()));
    }
}

/// Dormant peers that samples have found.
#[derive(Debug, Default)]
pub(crate) struct Dormant(Mutex<VecDeque<Arc<Stored>>>);

impl Dormant {
    /// Maximum number of dormant peers that are remembered between two sweeps.
    const MOST: usize = 1_000;
    /// How many lease durations after its lease a peer counts as long-dormant, so that a short
    /// outage causes no writes.
    const LEASES_AWAY: u64 = 2;

    /// Remembers a long-dormant peer.
    pub(crate) fn saw(&self, stored: &Arc<Stored>, now: Timestamp) {
        let away = now.millis_since(stored.expires_at) > Self::LEASES_AWAY * stored.ttl.as_millis();
        let mut seen = self.0.lock();
        if away && stored.listed && seen.len() < Self::MOST {
            seen.push_back(Arc::clone(stored));
        }
    }

    /// Removes and returns up to `most` peers, oldest first.
    pub(crate) fn take(&self, most: usize) -> Vec<Arc<Stored>> {
        let mut seen = self.0.lock();
        let count = seen.len().min(most);
        seen.drain(..count).collect()
    }

    pub(crate) fn forget(&self) {
        self.0.lock().clear();
    }
}
