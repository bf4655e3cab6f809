//! The sweep, which runs at regular intervals: removes long-dormant peers from the index. If the
//! time comes from DynamoDB, it also makes a call to get the time if no other call has returned it
//! recently.
//!
//! DynamoDB deletes dormant peers for free, but days later. Until then, samples still read them. If
//! most of the peers that samples read are dormant, it is cheaper to remove them from the index,
//! although each removal costs write units. If fewer are dormant, it is cheaper to keep reading
//! them. A heartbeat that revives a peer adds it to the index again.
//!
//! The sweep does not search for dormant peers. It takes those that reads of the index have found.
//! Lists are correct without it, because every read checks the lease of a peer.

use std::sync::Arc;

use aurora_discovery_registry::{StoreError, Swept};

use crate::core::{Core, new_generation};
use crate::expression::Expression;
use crate::item::{self, Generation, StoredPeer};
use crate::table::WriteOutcome;

/// Maximum number of peers that one sweep removes from the index. The service sweeps twice a
/// second, and fifty removals a second need only a small part of a table's capacity.
const MAX_PEERS_PER_SWEEP: usize = 25;

impl Core {
    pub(crate) async fn sweep(&self) -> Result<Swept, StoreError> {
        if self.options.store_time && self.clock.needs_sample() {
            self.check().await?;
        }
        // If the samples of every query find enough live peers, it is cheaper to keep reading the
        // dormant ones than to remove them from the index. The recorded dormant peers are then
        // forgotten.
        if !self.sizes.any_mostly_dormant() {
            self.dormant.clear();
            return Ok(Swept::default());
        }
        for stored in self.dormant.take(MAX_PEERS_PER_SWEEP) {
            self.remove_from_index(&stored).await?;
        }
        // The sweep neither ends leases nor deletes peers, so it has nothing to report. A lease
        // ends by itself at its time, and DynamoDB deletes the items.
        Ok(Swept::default())
    }

    /// Removes a peer from the index, and then deletes the markers of its archetypes.
    ///
    /// A heartbeat may revive the peer at the same time. The peer must then keep its markers:
    ///
    /// - A renewal that read the peer while it was in the index does not write markers. Such a
    ///   renewal must no longer succeed when the markers are deleted. The write of the peer's item
    ///   therefore comes first. It changes the generation, on which the renewal is conditional. If
    ///   the renewal is written first, this write is refused, because the lease has changed.
    /// - A renewal that reads the peer after this write finds that it is not in the index, and
    ///   writes the markers with the new generation. The deletions are conditional on the old
    ///   generation, so they do not affect these markers.
    ///
    /// The source marker stays, because the peer may be revived and still counts at its source. It
    /// gets the new generation, so that a later deletion of the peer can delete it.
    async fn remove_from_index(&self, stored: &StoredPeer) -> Result<(), StoreError> {
        let peer = &stored.registration.peer_id;
        let delisted_generation = new_generation()?;
        let delisted = StoredPeer { generation: delisted_generation, indexed: false, ..stored.clone() };
        let update = Expression::remove_from_index(delisted_generation);
        let written = self.table.update(item::peer_key(peer), update, Expression::unchanged(stored)).await?;
        if matches!(written, WriteOutcome::Done) {
            self.counters().delisted.add(1);
            // `recent` ignores a renewal whose generation differs from that of the remembered
            // write. A later revival of this peer has the new generation. So the peer is remembered
            // with the new generation, too.
            let position = self.position(peer).await?;
            self.recent.record_registration(position, Arc::new(delisted));
            self.delete_markers(stored.marker_keys(false), stored.generation).await;
            self.update_source_marker(stored, delisted_generation).await;
        }
        Ok(())
    }

    /// Gives the source marker of a peer a new generation.
    ///
    /// This costs one write unit, half as much as a deletion, because it does not change the index,
    /// which contains only keys. A failure is only logged. The marker then stays when the peer is
    /// deleted, until its time to live ends.
    pub(crate) async fn update_source_marker(&self, stored: &StoredPeer, generation: Generation) {
        if !self.is_bounded(stored.holder.source) {
            return;
        }
        let key = item::key(&stored.source_marker_key());
        let update = Expression::set_generation(generation);
        // If a registration or a revival has written the marker meanwhile, the condition does not
        // hold, and the marker stays as it is.
        if let Err(error) =
            self.table.update(key, update, Expression::same_generation(stored.generation)).await
        {
            tracing::warn!(%error, "could not update a source marker; if its peer is deleted, it stays until it expires");
        }
    }
}
