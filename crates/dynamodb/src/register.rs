//! Registering: markers, then the peer, then the markers that it no longer needs.
//!
//! A crash on the way leaves markers without a peer that carries them, which every read passes over; never a peer without
//! its markers. The peer's write holds only if nothing registered since it was read. So whoever wins has written all its
//! markers after the loser's were dropped.

use std::sync::Arc;

use aurora_protocol::{Archetype, PeerId, PeerJson, Timestamp};
use aurora_registry::{Holder, Placement, Put, Shortage, StoreError};
use futures_util::future::join_all;

use crate::core::{Core, RACES, Standing, new_generation};
use crate::failure::unavailable;
use crate::item::{self, Expression, Generation, Stored};
use crate::table::Write;

impl Core {
    pub(crate) async fn put(&self, put: Put, now: Timestamp) -> Result<Placement, StoreError> {
        let peer = put.registration.peer_id.clone();
        let place = self.place(&peer).await?;
        let generation = new_generation()?;
        let _turn = self.turn(place).await;
        let mut standing = self.standing(&peer).await?;
        for lost in 0..RACES {
            if let Some(refusal) = self.refusal(&standing, &put, now).await? {
                return Ok(refusal);
            }
            let token_kept = self.keeps_token(&standing, &put, now);
            let next = self.registered(&put, &standing, token_kept, generation, now);
            let item = next.to_item(self.secret().await?, self.revival_window_millis);
            let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
            self.table.write_all(next.markers(self.secret().await?)).await?;
            let condition = condition(&standing, &put, now);
            let refused = match self.table.put(item, condition).await? {
                Write::Done => None,
                Write::Refused(item) => Some(self.standing_after(&peer, item, lost).await?),
            };
            match refused {
                // An attempt that timed out was carried out all the same, and its repetition found it.
                Some(Standing::Peer(stored)) if stored.generation == generation => {}
                Some(other) => {
                    standing = other;
                    continue;
                }
                None => {}
            }
            self.drop_markers_of(&standing, next.archetypes()).await;
            self.recent.placed(place, Arc::new(next));
            return Ok(Placement::Placed { token_kept });
        }
        Err(unavailable("too many callers register this peer at once"))
    }

    async fn refusal(
        &self,
        standing: &Standing,
        put: &Put,
        now: Timestamp,
    ) -> Result<Option<Placement>, StoreError> {
        match standing {
            Standing::Peer(stored) if stored.is_live(now) => {
                let held = !put.claim.admits(&stored.holder);
                Ok(held.then_some(Placement::Held { until: stored.expires_at }))
            }
            _ if self.is_full(now).await? => Ok(Some(Placement::Full(Shortage::Peers))),
            _ => Ok(None),
        }
    }

    fn keeps_token(&self, standing: &Standing, put: &Put, now: Timestamp) -> bool {
        match standing {
            Standing::Peer(stored) => {
                stored.is_known(now, self.revival_window_millis) && put.claim.proves(&stored.holder)
            }
            Standing::Nothing | Standing::Unreadable(_) => false,
        }
    }

    pub(crate) fn registered(
        &self,
        put: &Put,
        standing: &Standing,
        token_kept: bool,
        generation: Generation,
        now: Timestamp,
    ) -> Stored {
        let token = match standing {
            Standing::Peer(stored) if token_kept => stored.holder.token,
            _ => put.new_token,
        };
        let expires_at = now + put.ttl;
        Stored {
            json: PeerJson::new(&put.registration),
            registration: put.registration.clone(),
            expires_at,
            last_seen: now,
            registered_at: now,
            ttl: put.ttl,
            holder: Holder { source: put.claim.source, token },
            generation,
            marked_until: item::marked_until(expires_at, self.revival_window_millis),
            listed: true,
        }
    }

    /// Deletes the markers of archetypes that a registration no longer has. One that stays behind is passed over by every
    /// read, and its time to live ends it, so a failure here is no failure of the registration.
    async fn drop_markers_of(&self, replaced: &Standing, kept: &[Archetype]) {
        if let Standing::Peer(stored) = replaced {
            let dropped: Vec<_> =
                stored.archetypes().iter().filter(|archetype| !kept.contains(archetype)).collect();
            self.delete_markers(&stored.registration.peer_id, &dropped, stored.generation).await;
        }
    }

    pub(crate) async fn delete_markers(
        &self,
        peer: &PeerId,
        archetypes: &[&Archetype],
        generation: Generation,
    ) {
        let deletions = archetypes.iter().map(|archetype| {
            self.table.delete(item::marker_key(archetype, peer), Expression::same(generation))
        });
        for deletion in join_all(deletions).await {
            if let Err(error) = deletion {
                tracing::warn!(%error, "a marker that nothing needs stays until its time to live ends");
            }
        }
    }
}

/// What must still hold when the peer is written.
fn condition(standing: &Standing, put: &Put, now: Timestamp) -> Expression {
    match standing {
        Standing::Nothing => Expression::absent(),
        Standing::Unreadable(item) => Expression::same_unreadable(item),
        // Who may replace it only because its lease ended must not replace it once a heartbeat revives it.
        Standing::Peer(stored) if !stored.is_live(now) && !put.claim.admits(&stored.holder) => {
            Expression::unchanged(stored)
        }
        Standing::Peer(stored) => Expression::same(stored.generation),
    }
}
