//! Deregistering: deletes the peer, then its markers.
//!
//! This is the reverse of the order in which they are written: a crash in between leaves markers
//! without a peer, which every read ignores.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Removal, StoreError};

use crate::core::{Core, Lookup, MAX_ATTEMPTS};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item;
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
            let window = self.revival_window_millis;
            if let Err(held) = stored.standing().check_removal(claim, window, now) {
                return Ok(Removal::Held(held));
            }
            // If the permission depends on the time, a renewal in the meantime must make the delete
            // fail.
            let lasts = stored.strongest_standing(now).check_removal(claim, window, now).is_ok();
            let condition =
                if lasts { Expression::same(stored.generation) } else { Expression::unchanged(&stored) };
            match self.table.delete(item::peer_key(peer), condition).await? {
                WriteOutcome::Done => {
                    self.recent.record_removal(position, stored.generation);
                    self.delete_markers(self.marker_keys(&stored), stored.generation).await;
                    return Ok(Removal::Removed { was_live: stored.is_live(now) });
                }
                WriteOutcome::Refused(item) => lookup = self.look_up_again(peer, item, attempt).await?,
            }
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }
}
