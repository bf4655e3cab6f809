//! The sweep: takes long-dormant peers off the index while they are the majority of its entries.
//!
//! DynamoDB deletes a dormant peer for free, but days later, and until then every sample reads its
//! entry. If more peers are dormant than live, it is cheaper to pay for the index write now. A
//! heartbeat that revives a peer adds it to the index again.
//!
//! Responses never depend on the sweep, because every read checks the lease of a peer. The sweep
//! does not search for peers: it takes those that samples have come across.

use aurora_discovery_registry::{StoreError, Swept};

use crate::core::{Core, new_generation};
use crate::item::{self, Expression, Stored};
use crate::table::Write;

/// Maximum number of peers that one sweep takes off the index. With one sweep per second, this is a
/// small part of a table's capacity.
const SWEEP: usize = 25;

impl Core {
    pub(crate) async fn sweep(&self) -> Result<Swept, StoreError> {
        // The peers that samples remembered are no longer worth a write.
        if !self.sizes.any_mostly_dormant() {
            self.dormant.forget();
            return Ok(Swept::default());
        }
        for stored in self.dormant.take(SWEEP) {
            self.take_off(&stored).await?;
        }
        // Leases end by the clock, and DynamoDB deletes the items, so there is nothing to report
        // here.
        Ok(Swept::default())
    }

    /// Takes a peer off the index, and then deletes its markers.
    ///
    /// The peer's item comes first. A renewal that has read the peer as listed does not write
    /// markers, so they may go only when such a renewal can no longer succeed. The write ensures
    /// this: it changes the generation, which the renewal's condition checks, and it fails itself
    /// if the lease has been renewed. A later revival finds the peer unlisted, and writes the
    /// markers with the new generation. The deletions are conditional on the old generation and do
    /// not affect these.
    async fn take_off(&self, stored: &Stored) -> Result<(), StoreError> {
        let peer = &stored.registration.peer_id;
        let unlisting = Expression::unlisting(new_generation()?);
        let written =
            self.table.update(item::peer_key(peer), unlisting, Expression::unchanged(stored)).await?;
        if matches!(written, Write::Done) {
            self.counters().delisted.add(1);
            let archetypes: Vec<_> = stored.archetypes().iter().collect();
            self.delete_markers(peer, &archetypes, stored.generation).await;
        }
        Ok(())
    }
}
