//! A snapshot of a small network: read completely by one scan, and reused for a few seconds.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_registry::StoreError;
use tokio::time::Instant;

use crate::cache::{Network, Peers, Snapshot};
use crate::core::Core;
use crate::estimate::Observation;
use crate::expression::Expression;
use crate::item;
use crate::lane::{Lane, LaneGroup, RingPosition};
use crate::recent::RecentWrite;

/// How long a network that was too large to be read completely counts as large.
const LARGE_LIFETIME: Duration = Duration::from_secs(60);
/// The same if an estimate says that it is far too large.
const FAR_TOO_LARGE_LIFETIME: Duration = Duration::from_secs(600);

impl Core {
    /// The network, with all its peers if it is small.
    pub(crate) async fn network(&self) -> Result<Network, StoreError> {
        if let Some(network) = self.cached_network() {
            return Ok(network);
        }
        // One caller scans. The others wait here, and then find its result.
        let _reading = self.snapshots.reading.lock().await;
        if let Some(network) = self.cached_network() {
            return Ok(network);
        }
        let read = self.read_network().await?;
        *self.snapshots.last.write() = Some(read.clone());
        Ok(self.with_recent_writes(&read))
    }

    /// The network by the last scan, if it has not expired.
    fn cached_network(&self) -> Option<Network> {
        let last = self.snapshots.last.read().clone()?;
        last.is_valid_at(Instant::now()).then(|| self.with_recent_writes(&last))
    }

    /// A snapshot, updated with the writes of this process since it was read.
    fn with_recent_writes(&self, snapshot: &Snapshot) -> Network {
        let Snapshot::Small { peers, .. } = snapshot else { return Network::Large };
        let mut peers = Arc::clone(peers);
        for (position, written) in self.recent.range(RingPosition(0), RingPosition(u64::MAX)) {
            let peers = Arc::make_mut(&mut peers);
            match written {
                // Of two states of the same registration, the one with the longer lease is newer,
                // whichever process wrote it.
                RecentWrite::Stored(stored) => {
                    let newer = peers.get(&position).is_some_and(|read| {
                        read.generation == stored.generation && read.expires_at > stored.expires_at
                    });
                    if !newer {
                        peers.insert(position, stored);
                    }
                }
                RecentWrite::Removed(_) => drop(peers.remove(&position)),
            }
        }
        Network::Small(peers)
    }

    /// Scans the table, unless the network is known to be too large for that.
    async fn read_network(&self) -> Result<Snapshot, StoreError> {
        let max_items = i32::from(self.options.snapshot_items);
        if max_items == 0 {
            return Ok(Snapshot::Large { until: Instant::now() + FAR_TOO_LARGE_LIFETIME });
        }
        // A network that was small just now is scanned without a probe, which saves the cost of the
        // probe.
        let was_small = matches!(*self.snapshots.last.read(), Some(Snapshot::Small { .. }));
        if !was_small && self.is_far_too_large().await? {
            return Ok(Snapshot::Large { until: Instant::now() + FAR_TOO_LARGE_LIFETIME });
        }
        // The lifetime starts before the scan, because writes during the scan may be missing from
        // it.
        let now = Instant::now();
        let mut peers = Peers::new();
        let mut rest = max_items;
        let mut half_units = 0;
        let mut start = None;
        loop {
            let page = self.table.scan(rest, start, false).await?;
            half_units += page.half_units;
            rest = rest.saturating_sub(i32::try_from(page.items.len()).unwrap_or(i32::MAX));
            // Markers and the table item are skipped: a snapshot has every peer with its
            // archetypes.
            for item in page.items.iter().filter(|item| item::is_peer(item)) {
                if let Some(stored) = self.parse_peer(item) {
                    peers.insert(self.position(&stored.registration.peer_id).await?, Arc::new(stored));
                }
            }
            start = page.next;
            // Each process reads it again every few seconds, so it must not cost more than a page.
            if half_units > self.max_page_half_units {
                return Ok(Snapshot::Large { until: now + LARGE_LIFETIME });
            }
            if start.is_none() {
                self.counters().snapshots.add(1);
                return Ok(Snapshot::Small {
                    peers: Arc::new(peers),
                    until: now + self.options.snapshot_hold,
                });
            }
            if rest <= 0 {
                return Ok(Snapshot::Large { until: now + LARGE_LIFETIME });
            }
        }
    }

    /// Whether the ring alone has more entries than a scan would read. The estimate costs half a
    /// read unit or one.
    async fn is_far_too_large(&self) -> Result<bool, StoreError> {
        let seen = self.probe(&[]).await?;
        Ok(seen.estimated_entries() > 2 * u64::from(self.options.snapshot_items))
    }

    /// Estimates the peers of a query from the start of a random lane.
    pub(crate) async fn probe(
        &self,
        archetypes: &[aurora_discovery_protocol::Archetype],
    ) -> Result<Observation, StoreError> {
        const MAX_ENTRIES: i32 = 50; // half a read unit
        let lane = Lane::random();
        let mut seen = Observation::default();
        let (mut entries, mut covered) = (0_u128, u128::from(Lane::WIDTH));
        for group in LaneGroup::for_query(archetypes) {
            let window = Expression::window(group.lane_key(lane), lane.first(), lane.last());
            let page = self.table.query(window, Some(MAX_ENTRIES), None).await?;
            seen.half_units += page.half_units;
            let last = page.items.last().and_then(|item| item::parse_index_entry(item).ok());
            let range = match (page.next, last) {
                (Some(_), Some((position, ..))) => u128::from(position.last_key().0 - lane.first().0) + 1,
                _ => u128::from(Lane::WIDTH),
            };
            // Extrapolates from the part of the lane that was read to the whole lane.
            let count = u128::try_from(page.items.len()).unwrap_or_default();
            // The groups are counted over one range. A peer in several groups is counted
            // several times, which the first sample corrects.
            entries += count * u128::from(Lane::WIDTH) / range.max(1);
            covered = u128::from(Lane::WIDTH);
        }
        seen.entries = u64::try_from(entries).unwrap_or(u64::MAX);
        seen.covered = covered;
        Ok(seen)
    }
}
