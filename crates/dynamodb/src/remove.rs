//! Deregistering: deletes the peer, then its markers.
//!
//! This is the reverse of the order in which they are written: a crash in between leaves markers
//! without a peer, which every read ignores.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Removal, StoreError};

use crate::core::{Core, Lookup, MAX_ATTEMPTS};
use crate::failure::unavailable;
use crate::item::{self, Expression};
use crate::table::WriteOutcome;

impl Core {
    pub(crate) async fn remove(
        &self,
        peer: &PeerId,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Removal, StoreError> {
        let position = self.position(peer).await?;
        let _lock = self.lock(position).await;
        let mut lookup = self.look_up(peer).await?;
        for attempt in 0..MAX_ATTEMPTS {
            let Lookup::Found(stored) = lookup else { return Ok(Removal::Unknown) };
            if !stored.is_known(now, self.revival_window_millis) {
                return Ok(Removal::Unknown);
            }
            let admitted = claim.matches(&stored.holder);
            if stored.is_live(now) && !admitted {
                return Ok(Removal::Held { until: stored.expires_at });
            }
            // A client that is not the holder may delete the peer only because its lease has ended,
            // so a renewal in the meantime must make the delete fail.
            let condition =
                if admitted { Expression::same(stored.generation) } else { Expression::unchanged(&stored) };
            match self.table.delete(item::peer_key(peer), condition).await? {
                WriteOutcome::Done => {
                    let archetypes: Vec<_> = stored.archetypes().iter().collect();
                    self.recent.record_removal(position, stored.generation);
                    self.delete_markers(peer, &archetypes, stored.generation).await;
                    return Ok(Removal::Removed { was_live: stored.is_live(now) });
                }
                WriteOutcome::Refused(item) => lookup = self.look_up_again(peer, item, attempt).await?,
            }
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }
}
