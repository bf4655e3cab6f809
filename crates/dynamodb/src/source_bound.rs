//! The bound on the peers of one source.
//!
//! Each peer has a marker in the lane of its source, so that counting the peers of a source reads
//! one lane of the index. The count includes dormant peers, those whose items are gone, and those
//! that have moved to another source: deleting their markers would cost a registration more than the
//! two write units that a bound may cost. A newcomer from a source with many markers therefore reads
//! the peers of up to a hundred of them. With up to a hundred markers the result is exact, beyond
//! that it is an estimate.
//!
//! The index lists a registration only once it is written. A process therefore also counts the
//! newcomers that it is writing, and those that it wrote within the last seconds.
//!
//! Peers without a marker are not counted: those that registered before the bound was set.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Source, StoreError};
use parking_lot::Mutex;

use crate::core::Core;
use crate::estimate::{scale, to_u64};
use crate::expression::Expression;
use crate::item::{self, StoredPeer};
use crate::lane::{RingPosition, source_lane_key};
use crate::table::WriteOutcome;

/// Maximum number of peers that a newcomer reads, which is one batch.
const MAX_READ: usize = 100;
/// Markers are counted up to this multiple of the bound: up to twice the bound for known peers, and
/// the rest for markers without a peer. If there are more, their number is estimated.
const MAX_COUNTED: u64 = 4;

/// The newcomers of each source that this process is writing, by their position on the ring.
#[derive(Debug, Default)]
pub(crate) struct Newcomers(Mutex<HashMap<Source, HashSet<RingPosition>>>);

/// A newcomer's place at its source, from the decision until the peer is written or has failed.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    newcomers: &'a Newcomers,
    source: Source,
    position: RingPosition,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let mut newcomers = self.newcomers.0.lock();
        if let Some(of_source) = newcomers.get_mut(&self.source) {
            of_source.remove(&self.position);
            if of_source.is_empty() {
                newcomers.remove(&self.source);
            }
        }
    }
}

/// Whether a source has room for a newcomer.
#[derive(Debug)]
pub(crate) enum SourceAdmission<'a> {
    Full,
    /// The source has no bound.
    Unbounded,
    Admitted(Admission<'a>),
}

/// The markers of a source.
#[derive(Debug)]
struct Markers {
    /// In ascending order, from the start of the lane.
    entries: Vec<(RingPosition, PeerId)>,
    /// The number of all, estimated if there are more than were read.
    total: u64,
}

/// What is known about the peers of a source, without the newcomer itself.
#[derive(Debug, Default)]
struct Population {
    live: u64,
    known: u64,
    /// Those that the numbers include.
    counted: HashSet<RingPosition>,
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
        newcomer: RingPosition,
        now: Timestamp,
    ) -> Result<SourceAdmission<'_>, StoreError> {
        let bound = u64::from(self.max_peers_per_source);
        if !self.is_bounded(source) {
            return Ok(SourceAdmission::Unbounded);
        }
        let markers = self.markers_of(source, bound.saturating_mul(MAX_COUNTED)).await?;
        let counted = markers.entries.iter().map(|(position, _)| *position).collect();
        // At most as many peers are live as there are markers.
        if let Some(admission) = self.admit(source, newcomer, &counted, markers.total, now) {
            return Ok(SourceAdmission::Admitted(admission));
        }
        let population = self.population(source, newcomer, markers, now).await?;
        let Some(admission) = self.admit(source, newcomer, &population.counted, population.live, now) else {
            return Ok(SourceAdmission::Full);
        };
        if population.known >= 2 * bound
            && let Some(oldest) = population.oldest
        {
            self.evict(&oldest).await?;
        }
        Ok(SourceAdmission::Admitted(admission))
    }

    /// Admits a newcomer to a source with `live` peers, if there is room for it besides those that this
    /// process is writing or has just written, and that were not `counted`.
    fn admit(
        &self,
        source: Source,
        newcomer: RingPosition,
        counted: &HashSet<RingPosition>,
        live: u64,
        now: Timestamp,
    ) -> Option<Admission<'_>> {
        let bound = u64::from(self.max_peers_per_source);
        let mut newcomers = self.newcomers.0.lock();
        let of_source = newcomers.entry(source).or_default();
        // A newcomer leaves this set after it has been recorded as written, so none is missed.
        let mut uncounted = of_source.clone();
        uncounted.extend(self.recent.live_of(source, now));
        uncounted.retain(|position| *position != newcomer && !counted.contains(position));
        let admitted = live + to_u64(uncounted.len()) < bound;
        if admitted {
            of_source.insert(newcomer);
        } else if of_source.is_empty() {
            newcomers.remove(&source);
        }
        admitted.then(|| Admission { newcomers: &self.newcomers, source, position: newcomer })
    }

    /// The markers of a source, up to `most`.
    async fn markers_of(&self, source: Source, most: u64) -> Result<Markers, StoreError> {
        let (mut entries, mut start) = (Vec::<(RingPosition, PeerId)>::new(), None);
        loop {
            let lane = Expression::window(source_lane_key(source), RingPosition(0), RingPosition(u64::MAX));
            let limit = i32::try_from(most - to_u64(entries.len())).unwrap_or(i32::MAX);
            let page = self.table.query(lane, Some(limit), start).await?;
            let listed = page.items.iter().filter_map(|item| item::parse_index_entry(item).ok());
            entries.extend(listed.map(|(position, peer, _)| (position, peer)));
            let read = to_u64(entries.len());
            start = page.next;
            if start.is_none() {
                return Ok(Markers { entries, total: read });
            }
            // The hash spreads the markers evenly over the lane.
            if let Some(last) = entries.last().map(|(position, _)| position.0)
                && read >= most
            {
                return Ok(Markers { entries, total: scale(read, u64::MAX, last) });
            }
        }
    }

    /// Reads peers of a source: all, or consecutive ones from a random marker on.
    async fn population(
        &self,
        source: Source,
        newcomer: RingPosition,
        Markers { mut entries, total }: Markers,
        now: Timestamp,
    ) -> Result<Population, StoreError> {
        // A peer with a marker is either still being written, and counts as live, or can be read.
        let being_written = self.newcomers.0.lock().get(&source).cloned().unwrap_or_default();
        let is_exact = entries.len() <= MAX_READ;
        let listed: HashSet<_> = entries.iter().map(|(position, _)| *position).collect();
        if !is_exact {
            let first = fastrand::usize(..entries.len());
            entries.rotate_left(first);
            entries.truncate(MAX_READ);
        }
        let read = to_u64(entries.len());
        let mut live: HashSet<_> = entries.iter().map(|(position, _)| *position).collect();
        live.retain(|position| being_written.contains(position) && *position != newcomer);
        let mut population = Population::default();
        let (peers, _) = self.read_peers(entries).await?;
        for peer in peers {
            let position = self.position(&peer.registration.peer_id).await?;
            // A marker whose peer has left or moved to another source does not count.
            if peer.holder.source != source
                || position == newcomer
                || !peer.is_known(now, self.revival_window_millis)
            {
                continue;
            }
            population.known += 1;
            if peer.is_live(now) {
                live.insert(position);
            } else if population.oldest.as_ref().is_none_or(|other| peer.expires_at < other.expires_at) {
                population.oldest = Some(peer);
            }
        }
        population.live = to_u64(live.len());
        population.counted = if is_exact { live } else { listed };
        if !is_exact {
            population.live = scale(population.live, total, read);
            population.known = scale(population.known, total, read);
        }
        Ok(population)
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
