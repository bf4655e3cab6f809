//! The bound on the peers of one source.
//!
//! Each peer has a marker in the lane of its source, so that counting the peers of a source reads
//! one lane of the index. The count includes dormant peers and those whose items are gone. A
//! newcomer from a source with many markers therefore reads the peers of up to a hundred of them.
//! With up to a hundred markers the result is exact, beyond that it is an estimate.
//!
//! Peers without a marker are not counted: those that registered before the bound was set.

use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Source, StoreError};

use crate::core::Core;
use crate::estimate::{scale, to_u64};
use crate::expression::Expression;
use crate::item::{self, StoredPeer};
use crate::lane::{RingPosition, source_lane_key};
use crate::table::WriteOutcome;

/// Maximum number of peers that a newcomer reads, which is one batch.
const MAX_READ: usize = 100;
/// Markers are counted up to this multiple of the bound: up to twice the bound for known peers, and
/// the rest for peers whose items expired before their markers.
const MAX_COUNTED: u64 = 4;

/// What is known about the peers of a source, without the newcomer itself.
#[derive(Debug, Default)]
struct Population {
    live: u64,
    known: u64,
    /// The longest dormant one of the peers that were read.
    oldest: Option<Arc<StoredPeer>>,
}

impl Core {
    /// Whether the peers of this source are bounded. Loopback is exempt.
    pub(crate) fn is_bounded(&self, source: Source) -> bool {
        self.max_peers_per_source > 0 && !source.is_loopback()
    }

    /// Whether `source` may have one more live peer. If it has twice as many peers as may be live,
    /// the longest dormant one of those read is evicted.
    pub(crate) async fn make_room(
        &self,
        source: Source,
        newcomer: &PeerId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let bound = u64::from(self.max_peers_per_source);
        if !self.is_bounded(source) {
            return Ok(true);
        }
        let markers = self.count_markers(source, bound.saturating_mul(MAX_COUNTED)).await?;
        if markers < bound {
            return Ok(true);
        }
        let population = self.population(source, newcomer, markers, now).await?;
        if population.live >= bound {
            return Ok(false);
        }
        if population.known >= 2 * bound
            && let Some(oldest) = population.oldest
        {
            self.evict(&oldest).await?;
        }
        Ok(true)
    }

    /// The number of markers of a source, up to `most`.
    async fn count_markers(&self, source: Source, most: u64) -> Result<u64, StoreError> {
        let (mut count, mut start) = (0, None);
        loop {
            let limit = i32::try_from(most - count).unwrap_or(i32::MAX);
            let (counted, next) = self.table.count(whole_lane(source), limit, start).await?;
            count += counted;
            if next.is_none() || count >= most {
                return Ok(count);
            }
            start = next;
        }
    }

    /// Reads peers of a source, from a random one on if it has more than are read.
    async fn population(
        &self,
        source: Source,
        newcomer: &PeerId,
        markers: u64,
        now: Timestamp,
    ) -> Result<Population, StoreError> {
        let is_exact = markers <= to_u64(MAX_READ);
        let from = if is_exact { 0 } else { fastrand::u64(..) };
        let mut entries = self.read_lane(source, from, u64::MAX, MAX_READ).await?;
        if from > 0 && entries.len() < MAX_READ {
            let rest = MAX_READ - entries.len();
            entries.extend(self.read_lane(source, 0, from - 1, rest).await?);
        }
        let read = to_u64(entries.len());
        let mut population = Population::default();
        for peer in self.read_peers(entries).await? {
            // A marker whose peer has left or moved to another source does not count.
            if peer.holder.source != source
                || peer.registration.peer_id == *newcomer
                || !peer.is_known(now, self.revival_window_millis)
            {
                continue;
            }
            population.known += 1;
            if peer.is_live(now) {
                population.live += 1;
            } else if population.oldest.as_ref().is_none_or(|other| peer.expires_at < other.expires_at) {
                population.oldest = Some(peer);
            }
        }
        if !is_exact && read > 0 {
            population.live = scale(population.live, markers, read);
            population.known = scale(population.known, markers, read);
        }
        Ok(population)
    }

    /// The entries of a source in a range of the ring, up to `most`.
    async fn read_lane(
        &self,
        source: Source,
        from: u64,
        to: u64,
        most: usize,
    ) -> Result<Vec<(RingPosition, PeerId)>, StoreError> {
        let window = Expression::window(source_lane_key(source), RingPosition(from), RingPosition(to));
        let page = self.table.query(window, i32::try_from(most).ok(), None).await?;
        Ok(page
            .items
            .iter()
            .filter_map(|item| item::parse_index_entry(item).ok())
            .map(|(position, peer, _)| (position, peer))
            .collect())
    }

    /// Deletes a dormant peer, unless it has changed since it was read.
    async fn evict(&self, stored: &StoredPeer) -> Result<(), StoreError> {
        let peer = &stored.registration.peer_id;
        let deleted = self.table.delete(item::peer_key(peer), Expression::unchanged(stored)).await?;
        if matches!(deleted, WriteOutcome::Done) {
            self.recent.record_removal(self.position(peer).await?, stored.generation);
            self.delete_markers(self.marker_keys(stored), stored.generation).await;
        }
        Ok(())
    }
}

fn whole_lane(source: Source) -> Expression {
    Expression::window(source_lane_key(source), RingPosition(0), RingPosition(u64::MAX))
}
