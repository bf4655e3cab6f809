//! Deregistering: deletes the peer, and then its markers. A crash in between leaves markers without
//! a peer, which every read ignores.
//!
//! If the peer signed its registration, the lock of its name must remain. Its item is then replaced
//! by a *tombstone*, which the index does not list, and which DynamoDB deletes when the lock has
//! ended. The source marker stays, because a tombstone still counts at its source.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Removal, SignedPeer, StoreError};

use crate::core::{Core, Lookup, MAX_ATTEMPTS, new_generation};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item::{self, Generation, StoredPeer};
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
        let generation = new_generation()?;
        let (mut written, mut was_live) = (None, false);
        let mut lookup = self.look_up(peer).await?;
        for attempt in 0..MAX_ATTEMPTS {
            let Lookup::Found(stored) = lookup else { return Ok(Removal::Unknown) };
            let is_tombstone = stored.standing().is_tombstone();
            // An earlier attempt of the SDK wrote the tombstone, but its response was lost.
            if is_tombstone && Some(stored.generation) == written {
                return Ok(Removal::Removed { was_live });
            }
            if is_tombstone || !stored.is_known(now, self.revival_window_millis) {
                return Ok(Removal::Unknown);
            }
            let window = self.revival_window_millis;
            if let Err(held) = stored.standing().check_removal(claim, window, now) {
                return Ok(Removal::Held(held));
            }
            // If the removal is permitted only because the lease has ended or the proof is old, a
            // renewal in the meantime may take the permission away. The condition must then fail,
            // so it includes the lease and the proof.
            let lasts = stored.strongest_standing(now).check_removal(claim, window, now).is_ok();
            let condition = if lasts {
                Expression::same_generation(stored.generation)
            } else {
                Expression::unchanged(&stored)
            };
            was_live = stored.is_live(now);
            let deleted = match &stored.signed {
                Some(signed) => {
                    written = Some(generation);
                    self.leave_tombstone(&stored, signed.left(now), generation, condition, now).await?
                }
                None => self.table.delete(item::peer_key(peer), condition).await?,
            };
            match deleted {
                WriteOutcome::Done => {
                    self.recent.record_removal(position, stored.generation);
                    let has_tombstone = stored.signed.is_some();
                    let unused =
                        if has_tombstone { stored.marker_keys(false) } else { self.marker_keys(&stored) };
                    self.delete_markers(unused, stored.generation).await;
                    if has_tombstone {
                        self.update_source_marker(&stored, generation).await;
                    }
                    return Ok(Removal::Removed { was_live });
                }
                WriteOutcome::Refused(item) => lookup = self.look_up_again(peer, item, attempt).await?,
            }
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }

    /// Replaces a peer's item by its tombstone, which the index does not list.
    async fn leave_tombstone(
        &self,
        stored: &StoredPeer,
        signed: SignedPeer,
        generation: Generation,
        condition: Expression,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let tombstone = StoredPeer {
            expires_at: stored.expires_at.min(now),
            signed: Some(signed),
            generation,
            indexed: false,
            ..stored.clone()
        };
        let item = tombstone.to_item(self.secret().await?, self.revival_window_millis);
        let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
        self.table.put(item, condition).await
    }
}
