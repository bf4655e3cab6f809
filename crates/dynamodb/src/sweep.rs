//! Taking peers that stay away off the index, where they are most of what it lists.
//!
//! DynamoDB deletes a dormant peer for nothing, days later, and until then every sample reads past it. Where more peers are dormant
//! than live, paying for the index write now is cheaper. A heartbeat that revives a peer lists it again.

use aurora_registry::{StoreError, Swept};

use crate::core::{Core, new_generation};
use crate::item::{self, Expression, Stored};
use crate::table::Write;

/// Most peers that one sweep takes off the index: with one sweep a second, a small part of what a table takes.
const SWEEP: usize = 25;

impl Core {
    pub(crate) async fn sweep(&self) -> Result<Swept, StoreError> {
        if !self.sizes.any_mostly_dormant() {
            self.dormant.forget();
            return Ok(Swept::default());
        }
        for stored in self.dormant.take(SWEEP) {
            self.take_off(&stored).await?;
        }
        // Leases end and peers are deleted without anybody's doing here.
        Ok(Swept::default())
    }

    /// The peer first: its markers may go only once no renewal relies on them.
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
