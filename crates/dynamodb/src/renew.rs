//! Renewing: reads the peer, and writes only if its lease in the table is too short.

use std::collections::HashMap;
use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Renewal, StoreError};

use crate::core::{Core, RACES, Standing};
use crate::failure::unavailable;
use crate::item::{self, Expression, Stored};
use crate::lane::Place;
use crate::table::Write;

/// A renewal extends the lease by this part of its duration more than requested, so that the next
/// heartbeat need not write.
const AHEAD: u64 = 3;

impl Core {
    pub(crate) async fn renew(&self, peer: &PeerId, now: Timestamp) -> Result<Renewal, StoreError> {
        let standing = self.standing(peer).await?;
        self.renew_standing(peer, standing, now).await
    }

    /// What the table currently has under the keys of these peers, in the same order. Takes one
    /// call per hundred peers.
    pub(crate) async fn standings(&self, peers: &[PeerId]) -> Result<Vec<Standing>, StoreError> {
        let items = self.table.read_all_now(peers.iter().map(item::peer_key).collect()).await?;
        let mut read: HashMap<_, _> =
            items.into_iter().filter_map(|item| Some((item::key_of(&item)?.to_owned(), item))).collect();
        Ok(peers.iter().map(|peer| self.judge(read.remove(peer.as_str()))).collect())
    }

    /// The same as [`Core::renew`], for a peer that was read already.
    pub(crate) async fn renew_standing(
        &self,
        peer: &PeerId,
        mut standing: Standing,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        let place = self.place(peer).await?;
        let mut revived = false;
        for lost in 0..RACES {
            let Standing::Peer(stored) = standing else { return Ok(Renewal::Unknown) };
            if !stored.is_known(now, self.revival_window_millis) {
                return Ok(Renewal::Unknown);
            }
            revived |= !stored.is_live(now);
            let renewed = Renewal::Renewed { ttl: stored.ttl, revived, registered_at: stored.registered_at };
            if stored.expires_at >= now + stored.ttl {
                return Ok(renewed);
            }
            match self.write_renewal(place, *stored, now).await? {
                Write::Done => return Ok(renewed),
                Write::Refused(item) => standing = self.standing_after(peer, item, lost).await?,
            }
        }
        Err(unavailable("too many callers change this peer at once"))
    }

    async fn write_renewal(&self, place: Place, stored: Stored, now: Timestamp) -> Result<Write, StoreError> {
        let expires_at = now.plus_millis(stored.ttl.as_millis() + stored.ttl.as_millis() / AHEAD);
        let markers_stand = item::forgotten_at(expires_at, self.revival_window_millis) <= stored.marked_until;
        let mut renewed =
            Stored { expires_at, last_seen: now.max(stored.last_seen), listed: true, ..stored.clone() };
        if !markers_stand || !stored.listed {
            renewed.marked_until = item::marked_until(expires_at, self.revival_window_millis);
            // The markers are written before the peer, as in a registration. If the peer's item
            // were renewed first and the process crashed, its markers could expire before it.
            self.table.write_all(renewed.markers(self.secret().await?)).await?;
        }
        let written = if stored.listed {
            let update = Expression::renewal(&renewed, self.revival_window_millis);
            let condition = Expression::expires_before(stored.generation, expires_at);
            self.table.update(item::peer_key(&stored.registration.peer_id), update, condition).await?
        } else {
            let item = renewed.to_item(self.secret().await?, self.revival_window_millis);
            let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
            // An unlisted peer must get its index keys back, so the whole item is written.
            self.table.put(item, Expression::unchanged(&stored)).await?
        };
        if matches!(written, Write::Done) {
            self.recent.renewed(place, Arc::new(renewed));
        }
        Ok(written)
    }
}
