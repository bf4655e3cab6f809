//! Registering: writes the markers, then the peer, then deletes markers that are no longer needed.
//!
//! A transaction would write a peer and its markers atomically, but costs twice the units. So the
//! order of the writes matters. The markers are written before the peer, because a peer without a
//! marker could not be found by that archetype. A crash in between leaves markers whose peer does
//! not have their archetype, and every read ignores these. It never leaves a peer without its
//! markers.
//!
//! The write of the peer is conditional: it fails if another registration has been written since
//! the item was read. The registration then starts again from the new state, and writes its markers
//! again. So the registration that is acknowledged wrote all of its markers after the peer that it
//! replaces was written. Markers are deleted only if they still have the generation of the replaced
//! registration, so a marker that a concurrent registration has overwritten is kept.

use std::sync::Arc;

use aurora_discovery_protocol::{Archetype, PeerId, PeerJson, Timestamp};
use aurora_discovery_registry::{ExceededLimit, Holder, PutRequest, PutResult, StoreError};
use futures_util::future::join_all;

use crate::core::{Core, RACES, Standing, new_generation};
use crate::failure::unavailable;
use crate::item::{self, Expression, Generation, Stored};
use crate::table::Write;

impl Core {
    pub(crate) async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
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
            // The markers are written before the peer; see the documentation of this module.
            self.table.write_all(next.markers(self.secret().await?)).await?;
            let condition = condition(&standing, &put, now);
            let refused = match self.table.put(item, condition).await? {
                Write::Done => None,
                Write::Refused(item) => Some(self.standing_after(&peer, item, lost).await?),
            };
            match refused {
                // An earlier attempt of the same write timed out but was carried out, and its retry
                // found the result.
                Some(Standing::Peer(stored)) if stored.generation == generation => {}
                Some(other) => {
                    standing = other;
                    continue;
                }
                None => {}
            }
            self.drop_markers_of(&standing, next.archetypes()).await;
            self.recent.placed(place, Arc::new(next));
            return Ok(PutResult::Stored { token_kept });
        }
        Err(unavailable("too many callers register this peer at once"))
    }

    async fn refusal(
        &self,
        standing: &Standing,
        put: &PutRequest,
        now: Timestamp,
    ) -> Result<Option<PutResult>, StoreError> {
        match standing {
            Standing::Peer(stored) if stored.is_live(now) => {
                let held = !put.claim.matches(&stored.holder);
                Ok(held.then_some(PutResult::Held { until: stored.expires_at }))
            }
            _ if self.is_full(now).await? => Ok(Some(PutResult::Full(ExceededLimit::Peers))),
            _ => Ok(None),
        }
    }

    fn keeps_token(&self, standing: &Standing, put: &PutRequest, now: Timestamp) -> bool {
        match standing {
            Standing::Peer(stored) => {
                stored.is_known(now, self.revival_window_millis) && put.claim.has_token_of(&stored.holder)
            }
            Standing::Nothing | Standing::Unreadable(_) => false,
        }
    }

    pub(crate) fn registered(
        &self,
        put: &PutRequest,
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

    /// Deletes the markers of archetypes that the new registration does not have. Reads ignore a
    /// marker that remains, and it expires by its time to live. So a failure here does not fail the
    /// registration.
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

/// The condition for writing the peer.
fn condition(standing: &Standing, put: &PutRequest, now: Timestamp) -> Expression {
    match standing {
        Standing::Nothing => Expression::absent(),
        Standing::Unreadable(item) => Expression::same_unreadable(item),
        // A client that is not the holder may replace the peer only because its lease has ended. A
        // heartbeat that revives the peer in the meantime must make this write fail.
        Standing::Peer(stored) if !stored.is_live(now) && !put.claim.matches(&stored.holder) => {
            Expression::unchanged(stored)
        }
        Standing::Peer(stored) => Expression::same(stored.generation),
    }
}
