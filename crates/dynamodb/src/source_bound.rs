//! The bound on the live peers of one source.
//!
//! A *newcomer* is a registration that adds a live peer to its source. It is admitted if the source
//! then has no more live peers than the bound. The store keeps no counter, because every
//! registration would have to write it. Instead, each peer has a marker that lists it in the index
//! under its source, and the markers are counted in two steps:
//!
//! 1. One query lists the markers of the source. If there are fewer than the bound, the newcomer is
//!    admitted.
//! 2. Otherwise the peers of up to a hundred markers are read, to see how many are live. If the
//!    source has no more markers than were read, the number of live peers is exact. If it has more,
//!    the number is extrapolated from consecutive markers that start at a random one.
//!
//! Not every marker has a live peer: the peer may be dormant, deleted, or registered from another
//! source by now. A registration does not delete the marker at a former source, because this would
//! cost two more write units, and the bound may cost no more than two per registration.
//!
//! The index lists a peer only some time after it was written. A process therefore also counts the
//! newcomers that it is writing at the moment, and those that it wrote within the last seconds. It
//! does not count the newcomers of other processes before the index lists them, so several
//! processes together may exceed the bound.
//!
//! Peers without a marker are not counted. These are peers that registered before the bound was
//! set.

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

/// Maximum number of peers that are read for a newcomer. One batch read can return that many.
const MAX_READ: usize = 100;
/// The number of markers that are listed for a source is at most this multiple of the bound. Half
/// of it is for the known peers of the source, of which there may be twice as many as the bound.
/// The other half is for markers without a peer. If there are more markers, their number is
/// estimated.
const MAX_COUNTED: u64 = 4;

/// The newcomers of each source that this process is writing, by their position on the ring.
#[derive(Debug, Default)]
pub(crate) struct Newcomers(Mutex<HashMap<Source, HashSet<RingPosition>>>);

/// A guard that counts an admitted newcomer at its source. It is dropped when the peer has been
/// written or the registration has failed.
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

/// Whether a source admits a newcomer.
#[derive(Debug)]
pub(crate) enum SourceAdmission<'a> {
    /// The source has as many live peers as it may have.
    Full,
    /// The peers of this source are not bounded.
    Unbounded,
    /// The newcomer is admitted, and counts at its source while the guard exists.
    Admitted(Admission<'a>),
}

/// The markers of a source.
#[derive(Debug)]
struct Markers {
    /// The markers that were read, in ascending order of their positions.
    entries: Vec<(RingPosition, PeerId)>,
    /// The number of all markers. It is estimated if not all were read.
    total: u64,
}

/// The numbers of peers of a source, without the newcomer itself.
#[derive(Debug, Default)]
struct Population {
    /// The number of live peers.
    live: u64,
    /// The number of live and dormant peers.
    known: u64,
    /// The positions of peers that the numbers account for. [`Core::admit`] must not count these
    /// peers again.
    counted: HashSet<RingPosition>,
    /// Of the peers that were read, the one that has been dormant for longest.
    oldest: Option<Arc<StoredPeer>>,
}

impl Core {
    /// Whether the number of peers of this source is bounded. Loopback is exempt.
    pub(crate) fn is_bounded(&self, source: Source) -> bool {
        self.max_peers_per_source > 0 && !source.is_loopback()
    }

    /// Decides whether `source` may have one more live peer. If so, and if the source already has
    /// twice as many known peers as may be live, this evicts a dormant peer: of those that were
    /// read, the one that has been dormant for longest.
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
        // The number of markers is an upper bound of the number of live peers.
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

    /// Admits a newcomer if the source has fewer live peers than the bound. `live` is the number of
    /// those that were counted in the table. To these are added the peers that this process is
    /// writing or has just written, unless their positions are in `counted`.
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
        // A registration adds its peer to `recent` before it removes the newcomer from this set.
        // Because the set is copied before `recent` is read, no newcomer is missed in between.
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

    /// Lists the markers of a source, up to `most` of them.
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
            // The hash spreads the markers evenly over the positions, so the number of those up to
            // `last` is extrapolated to all positions.
            if let Some(last) = entries.last().map(|(position, _)| position.0)
                && read >= most
            {
                return Ok(Markers { entries, total: scale(read, u64::MAX, last) });
            }
        }
    }

    /// Counts the live and the known peers of a source, by reading the peers of its listed markers.
    /// If there are more than [`MAX_READ`], reads the peers of that many consecutive markers from a
    /// random one on. Extrapolates if the source has more markers than were read.
    async fn population(
        &self,
        source: Source,
        newcomer: RingPosition,
        Markers { mut entries, total }: Markers,
        now: Timestamp,
    ) -> Result<Population, StoreError> {
        // The marker of a peer is written before the peer. A peer that this process is still
        // writing may be missing from the table, so it counts as live in any case.
        let being_written = self.newcomers.0.lock().get(&source).cloned().unwrap_or_default();
        let is_exact = total == to_u64(entries.len()) && entries.len() <= MAX_READ;
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
            // A peer does not count if it has moved to another source, is the newcomer itself, or
            // is no longer known.
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
        // `counted` has the positions that `live` accounts for. An exact number accounts only for
        // the live peers that were found, and an extrapolated one for the peers of all markers that
        // were listed.
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
