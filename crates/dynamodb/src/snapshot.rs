//! The snapshot of a small network: all its peers, read by a scan of the table and reused for a few
//! seconds.

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

/// How long a network counts as large after a scan has found too many items or cost too much.
const LARGE_LIFETIME: Duration = Duration::from_secs(60);
/// How long a network counts as large if its estimated number of peers is more than twice the
/// number of items that a scan may read.
const FAR_TOO_LARGE_LIFETIME: Duration = Duration::from_secs(600);

impl Core {
    /// The network: all its peers if it is small, otherwise `Network::Large`. Uses the last scan,
    /// or scans the table if that scan has expired.
    pub(crate) async fn network(&self) -> Result<Network, StoreError> {
        if let Some(network) = self.cached_network() {
            return Ok(network);
        }
        // One caller scans. The others wait for this lock, and then find its result in the cache.
        let _reading = self.snapshots.reading.lock().await;
        if let Some(network) = self.cached_network() {
            return Ok(network);
        }
        let read = self.read_network().await?;
        *self.snapshots.last.write() = Some(read.clone());
        Ok(self.with_recent_writes(&read))
    }

    /// The network according to the last scan, if that has not expired.
    fn cached_network(&self) -> Option<Network> {
        let last = self.snapshots.last.read().clone()?;
        last.is_valid_at(Instant::now()).then(|| self.with_recent_writes(&last))
    }

    /// The peers of a snapshot, updated with the recent writes of this process.
    fn with_recent_writes(&self, snapshot: &Snapshot) -> Network {
        let Snapshot::Small { peers, .. } = snapshot else { return Network::Large };
        let mut peers = Arc::clone(peers);
        for (position, written) in self.recent.range(RingPosition(0), RingPosition(u64::MAX)) {
            let peers = Arc::make_mut(&mut peers);
            match written {
                // If the scan read the same registration with a longer lease, that is newer than
                // the write of this process: another process has renewed the lease since.
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
        // If the last scan found a small network, the probe is skipped to save its cost.
        let was_small = matches!(*self.snapshots.last.read(), Some(Snapshot::Small { .. }));
        if !was_small && self.is_far_too_large().await? {
            return Ok(Snapshot::Large { until: Instant::now() + FAR_TOO_LARGE_LIFETIME });
        }
        // The lifetime of the snapshot starts before the scan, because the snapshot may lack what
        // is written during the scan.
        let now = Instant::now();
        let mut peers = Peers::new();
        let mut rest = max_items;
        let mut half_units = 0;
        let mut start = None;
        loop {
            let page = self.table.scan(rest, start, false).await?;
            half_units += page.half_units;
            rest = rest.saturating_sub(i32::try_from(page.items.len()).unwrap_or(i32::MAX));
            // Only peers are kept. The items of peers contain their archetypes, so a snapshot does
            // not need the markers.
            for item in page.items.iter().filter(|item| item::is_peer(item)) {
                if let Some(stored) = self.parse_peer(item) {
                    peers.insert(self.position(&stored.registration.peer_id).await?, Arc::new(stored));
                }
            }
            start = page.next;
            // Each process repeats the scan every few seconds, so a scan must not cost more than a
            // page may.
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
            // The table has more items than a scan may read.
            if rest <= 0 {
                return Ok(Snapshot::Large { until: now + LARGE_LIFETIME });
            }
        }
    }

    /// Whether the estimated number of peers in the index is more than twice the number of items
    /// that a scan may read. The estimate costs about half a read unit.
    async fn is_far_too_large(&self) -> Result<bool, StoreError> {
        let seen = self.probe(&[]).await?;
        Ok(seen.estimated_entries() > 2 * u64::from(self.options.snapshot_items))
    }

    /// Estimates the number of index entries of a query, from the first entries of a random lane.
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
            // The query read the whole lane, or up to the last entry if it ended at its limit.
            let range = match (page.next, last) {
                (Some(_), Some((position, ..))) => u128::from(position.last_key().0 - lane.first().0) + 1,
                _ => u128::from(Lane::WIDTH),
            };
            let count = u128::try_from(page.items.len()).unwrap_or_default();
            // The groups were read over different ranges. Their counts are extrapolated to the
            // whole lane, so that they can be added. A peer in several groups is counted several
            // times, so the estimate may be too high.
            entries += count * u128::from(Lane::WIDTH) / range.max(1);
            covered = u128::from(Lane::WIDTH);
        }
        seen.entries = u64::try_from(entries).unwrap_or(u64::MAX);
        seen.covered = covered;
        Ok(seen)
    }
}
