//! A snapshot of a small network: read completely by one scan, and reused for a few seconds.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_registry::StoreError;
use tokio::time::Instant;

use crate::core::Core;
use crate::item;
use crate::lane::{Family, Lane, Place};
use crate::memory::{Network, Peers, Snapshot};
use crate::recent::Written;
use crate::size::Seen;

/// How long a network that was too large to be read completely counts as large.
const LARGE_HOLD: Duration = Duration::from_secs(60);
/// The same if an estimate says that it is far too large.
const FAR_TOO_LARGE_HOLD: Duration = Duration::from_secs(600);

impl Core {
    /// The network, with all its peers if it is small.
    pub(crate) async fn network(&self) -> Result<Network, StoreError> {
        if let Some(network) = self.held_network() {
            return Ok(network);
        }
        let _reading = self.snapshots.reading.lock().await;
        if let Some(network) = self.held_network() {
            return Ok(network);
        }
        let read = self.read_network().await?;
        *self.snapshots.last.write() = Some(read.clone());
        Ok(self.with_own_writes(&read))
    }

    fn held_network(&self) -> Option<Network> {
        let last = self.snapshots.last.read().clone()?;
        last.serves_at(Instant::now()).then(|| self.with_own_writes(&last))
    }

    fn with_own_writes(&self, snapshot: &Snapshot) -> Network {
        let Snapshot::Small { peers, .. } = snapshot else { return Network::Large };
        let mut peers = Arc::clone(peers);
        for (place, written) in self.recent.within(Place(0), Place(u64::MAX)) {
            let peers = Arc::make_mut(&mut peers);
            match written {
                // Of two states of the same registration, the one with the longer lease is newer,
                // whichever process wrote it.
                Written::Placed(stored) => {
                    let newer = peers.get(&place).is_some_and(|read| {
                        read.generation == stored.generation && read.expires_at > stored.expires_at
                    });
                    if !newer {
                        peers.insert(place, stored);
                    }
                }
                Written::Removed(_) => drop(peers.remove(&place)),
            }
        }
        Network::Small(peers)
    }

    async fn read_network(&self) -> Result<Snapshot, StoreError> {
        let most = i32::from(self.options.snapshot_items);
        if most == 0 {
            return Ok(Snapshot::Large { until: Instant::now() + FAR_TOO_LARGE_HOLD });
        }
        let was_small = matches!(*self.snapshots.last.read(), Some(Snapshot::Small { .. }));
        if !was_small && self.is_far_too_large().await? {
            return Ok(Snapshot::Large { until: Instant::now() + FAR_TOO_LARGE_HOLD });
        }
        // The hold starts before the scan, because writes during the scan may be missing from it.
        let now = Instant::now();
        let mut peers = Peers::new();
        let mut rest = most;
        let mut start = None;
        loop {
            let page = self.table.scan(rest, start).await?;
            rest = rest.saturating_sub(i32::try_from(page.items.len()).unwrap_or(i32::MAX));
            for item in page.items.iter().filter(|item| item::is_peer(item)) {
                if let Some(stored) = self.read(item) {
                    peers.insert(self.place(&stored.registration.peer_id).await?, Arc::new(stored));
                }
            }
            start = page.next;
            if start.is_none() {
                self.counters().snapshots.add(1);
                return Ok(Snapshot::Small {
                    peers: Arc::new(peers),
                    until: now + self.options.snapshot_hold,
                });
            }
            if rest <= 0 {
                return Ok(Snapshot::Large { until: now + LARGE_HOLD });
            }
        }
    }

    /// Whether the ring alone has more entries than a scan would read. The estimate costs half a
    /// read unit or one.
    async fn is_far_too_large(&self) -> Result<bool, StoreError> {
        let seen = self.probe(&[]).await?;
        Ok(seen.entries_in_all() > 2 * u64::from(self.options.snapshot_items))
    }

    /// Estimates the peers of a query from the start of a random lane.
    pub(crate) async fn probe(
        &self,
        archetypes: &[aurora_discovery_protocol::Archetype],
    ) -> Result<Seen, StoreError> {
        const MOST_ENTRIES: i32 = 50; // half a read unit
        let lane = Lane::random();
        let mut seen = Seen::default();
        let (mut entries, mut covered) = (0_u128, u128::from(Lane::WIDTH));
        for family in Family::of(archetypes) {
            let window = item::Expression::window(family.lane_key(lane), lane.first(), lane.last());
            let page = self.table.query(window, Some(MOST_ENTRIES), None).await?;
            let last = page.items.last().and_then(|item| item::indexed(item).ok());
            let reach = match (page.next, last) {
                (Some(_), Some((place, _))) => u128::from(place.0 - lane.first().0) + 1,
                _ => u128::from(Lane::WIDTH),
            };
            let count = u128::try_from(page.items.len()).unwrap_or_default();
            // The families are counted over one range. A peer in several families is counted
            // several times, which the first sample corrects.
            entries += count * u128::from(Lane::WIDTH) / reach.max(1);
            covered = u128::from(Lane::WIDTH);
        }
        seen.entries = u64::try_from(entries).unwrap_or(u64::MAX);
        seen.covered = covered;
        Ok(seen)
    }
}
