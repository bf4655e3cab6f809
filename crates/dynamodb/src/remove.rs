//! Deregistering: deletes the peer, then its markers.
//!
//! This is the reverse of the order in which they are written: a crash in between leaves markers
//! without a peer, which every read ignores.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Removal, StoreError};

use crate::core::{Core, RACES, Standing};
use crate::failure::unavailable;
use crate::item::{self, Expression};
use crate::table::Write;

impl Core {
    pub(crate) async fn remove(
        &self,
        peer: &PeerId,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Removal, StoreError> {
        let place = self.place(peer).await?;
        let _turn = self.turn(place).await;
        let mut standing = self.standing(peer).await?;
        for lost in 0..RACES {
            let Standing::Peer(stored) = standing else { return Ok(Removal::Unknown) };
            if !stored.is_known(now, self.revival_window_millis) {
                return Ok(Removal::Unknown);
            }
            let admitted = claim.matches(&stored.holder);
            if stored.is_live(now) && !admitted {
                return Ok(Removal::Held { until: stored.expires_at });
            }
            let condition =
                if admitted { Expression::same(stored.generation) } else { Expression::unchanged(&stored) };
            match self.table.delete(item::peer_key(peer), condition).await? {
                Write::Done => {
                    let archetypes: Vec<_> = stored.archetypes().iter().collect();
                    self.recent.removed(place, stored.generation);
                    self.delete_markers(peer, &archetypes, stored.generation).await;
                    return Ok(Removal::Removed { was_live: stored.is_live(now) });
                }
                Write::Refused(item) => standing = self.standing_after(peer, item, lost).await?,
            }
        }
        Err(unavailable("too many callers change this peer at once"))
    }
}
