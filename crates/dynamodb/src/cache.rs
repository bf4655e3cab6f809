//! The caches of a store: the last scan, the last census, and the dormant peers that samples found.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::Census;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::item::StoredPeer;
use crate::lane::RingPosition;

/// All peers of a small network, by their position on the ring.
pub(crate) type Peers = BTreeMap<RingPosition, Arc<StoredPeer>>;

/// The network as the last scan found it.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    /// All peers, including the recent writes of this process.
    Small(Arc<Peers>),
    /// Too large to be read completely.
    Large,
}

/// The last scan and its result.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCache {
    pub(crate) last: RwLock<Option<Snapshot>>,
    /// The caller that scans holds this lock. Other callers wait for its result.
    pub(crate) reading: tokio::sync::Mutex<()>,
}

/// The result of a scan, and when it expires.
#[derive(Clone, Debug)]
pub(crate) enum Snapshot {
    Small { peers: Arc<Peers>, until: Instant },
    Large { until: Instant },
}

impl Snapshot {
    /// Whether the result may still be used at `time`.
    pub(crate) fn is_valid_at(&self, time: Instant) -> bool {
        let (Self::Small { until, .. } | Self::Large { until }) = self;
        time < *until
    }
}

/// The last census of a large network.
#[derive(Debug, Default)]
pub(crate) struct LastCensus(Mutex<Option<(Instant, Census)>>);

impl LastCensus {
    /// The last census, if it is younger than `max_age`.
    pub(crate) fn younger_than(&self, max_age: Duration) -> Option<Census> {
        let last = self.0.lock();
        last.as_ref().filter(|(at, _)| at.elapsed() < max_age).map(|(_, census)| census.clone())
    }

    pub(crate) fn store(&self, census: &Census) {
        *self.0.lock() = Some((Instant::now(), census.clone()));
    }
}

/// Long-dormant peers that reads of the index have found. The sweep takes peers from this queue and
/// removes them from the index.
#[derive(Debug, Default)]
pub(crate) struct DormantPeers(Mutex<VecDeque<Arc<StoredPeer>>>);

impl DormantPeers {
    /// Maximum number of dormant peers that are remembered between two sweeps.
    const MAX_PEERS: usize = 1_000;
    /// A peer counts as long-dormant if its lease ended more than this many lease durations ago.
    /// After a short outage, most peers send a heartbeat before that. The sweep therefore does not
    /// remove peers from the index that soon come back.
    const LEASES_DORMANT: u64 = 2;

    /// Records a peer for the next sweep if it is long-dormant.
    pub(crate) fn record(&self, stored: &Arc<StoredPeer>, now: Timestamp) {
        let is_long_dormant =
            now.millis_since(stored.expires_at) > Self::LEASES_DORMANT * stored.ttl.as_millis();
        let mut peers = self.0.lock();
        if is_long_dormant && stored.indexed && peers.len() < Self::MAX_PEERS {
            peers.push_back(Arc::clone(stored));
        }
    }

    /// Removes and returns up to `max` peers, in the order in which they were recorded.
    pub(crate) fn take(&self, max: usize) -> Vec<Arc<StoredPeer>> {
        let mut peers = self.0.lock();
        // The rest stays for the next sweep.
        let count = peers.len().min(max);
        peers.drain(..count).collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}
