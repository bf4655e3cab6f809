//! The sweep: removes long-dormant peers from the index while they are the majority of its entries,
//! and asks DynamoDB for the time if no other call has.
//!
//! DynamoDB deletes a dormant peer for free, but days later, and until then every sample reads its
//! entry. If more peers are dormant than live, it is cheaper to pay for the index write now. A
//! heartbeat that revives a peer adds it to the index again.
//!
//! Lists never depend on the sweep, because every read checks the lease of a peer. The sweep
//! does not search for peers: it takes those that samples have come across.

use std::sync::Arc;

use aurora_discovery_registry::{StoreError, Swept};

use crate::core::{Core, new_generation};
use crate::expression::Expression;
use crate::item::{self, Generation, StoredPeer};
use crate::table::WriteOutcome;

/// Maximum number of peers that one sweep removes from the index. With one sweep per second, this
/// is a small part of a table's capacity.
const MAX_PEERS_PER_SWEEP: usize = 25;

impl Core {
    pub(crate) async fn sweep(&self) -> Result<Swept, StoreError> {
        if self.options.store_time && self.clock.needs_sample() {
            self.check().await?;
        }
        // The peers that samples remembered are no longer worth a write.
        if !self.sizes.any_mostly_dormant() {
            self.dormant.clear();
            return Ok(Swept::default());
        }
        for stored in self.dormant.take(MAX_PEERS_PER_SWEEP) {
            self.remove_from_index(&stored).await?;
        }
        // Leases end by the clock, and DynamoDB deletes the items, so there is nothing to report
        // here.
        Ok(Swept::default())
    }

    /// Removes a peer from the index, and then deletes the markers of its archetypes.
    ///
    /// The peer's item comes first. A renewal that has read the peer as indexed does not write
    /// markers, so they may go only when such a renewal can no longer succeed. The write ensures
    /// this: it changes the generation, which the renewal's condition checks, and it fails itself
    /// if the lease has been renewed. A later revival finds the peer off the index, and writes the
    /// markers with the new generation. The deletions are conditional on the old generation and do
    /// not affect these.
    ///
    /// The source marker stays, because the peer can be revived and therefore still counts at its
    /// source. It gets the new generation, by which it is deleted with the peer.
    async fn remove_from_index(&self, stored: &StoredPeer) -> Result<(), StoreError> {
        let peer = &stored.registration.peer_id;
        let delisted_generation = new_generation()?;
        let delisted = StoredPeer { generation: delisted_generation, indexed: false, ..stored.clone() };
        let update = Expression::remove_from_index(delisted_generation);
        let written = self.table.update(item::peer_key(peer), update, Expression::unchanged(stored)).await?;
        if matches!(written, WriteOutcome::Done) {
            self.counters().delisted.add(1);
            // A renewal is remembered only if the generation is the one that is remembered.
            let position = self.position(peer).await?;
            self.recent.record_registration(position, Arc::new(delisted));
            self.delete_markers(stored.marker_keys(false), stored.generation).await;
            self.update_source_marker(stored, delisted_generation).await;
        }
        Ok(())
    }

    /// Gives the source marker of a peer a new generation. The index has keys only, so this costs
    /// one write unit, half of what a deletion would. A failure is only logged: the marker then
    /// outlives a peer that is deleted, and expires by its time to live.
    pub(crate) async fn update_source_marker(&self, stored: &StoredPeer, generation: Generation) {
        if !self.is_bounded(stored.holder.source) {
            return;
        }
        let key = item::key(&stored.source_marker_key());
        let update = Expression::set_generation(generation);
        // A registration or a revival may have written the marker meanwhile.
        if let Err(error) =
            self.table.update(key, update, Expression::same_generation(stored.generation)).await
        {
            tracing::warn!(%error, "could not update a source marker; if its peer is deleted, it stays until it expires");
        }
    }
}
