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

use crate::core::{Core, Lookup, MAX_ATTEMPTS, new_generation};
use crate::failure::unavailable;
use crate::item::{self, Expression, Generation, StoredPeer};
use crate::table::WriteOutcome;

impl Core {
    pub(crate) async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        let peer = put.registration.peer_id.clone();
        let position = self.position(&peer).await?;
        let generation = new_generation()?;
        let _lock = self.lock(position).await;
        let mut lookup = self.look_up(&peer).await?;
        for attempt in 0..MAX_ATTEMPTS {
            if let Some(refusal) = self.refusal(&lookup, &put, now).await? {
                return Ok(refusal);
            }
            let token_kept = self.keeps_token(&lookup, &put, now);
            let next = self.new_peer(&put, &lookup, token_kept, generation, now);
            let item = next.to_item(self.secret().await?, self.revival_window_millis);
            let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
            // The markers are written before the peer; see the documentation of this module.
            self.table.write_all(next.markers(self.secret().await?)).await?;
            let condition = condition(&lookup, &put, now);
            let refused = match self.table.put(item, condition).await? {
                WriteOutcome::Done => None,
                WriteOutcome::Refused(item) => Some(self.look_up_again(&peer, item, attempt).await?),
            };
            match refused {
                // The SDK retried a write that had timed out but was applied. The retry failed
                // because it found its own result.
                Some(Lookup::Found(stored)) if stored.generation == generation => {}
                Some(other) => {
                    lookup = other;
                    continue;
                }
                None => {}
            }
            self.delete_unused_markers(&lookup, next.archetypes()).await;
            self.recent.record_registration(position, Arc::new(next));
            return Ok(PutResult::Stored { token_kept });
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }

    /// Why the registration must be rejected: another client holds the live peer, or the table is
    /// full. A live peer that its holder registers again is never rejected.
    async fn refusal(
        &self,
        lookup: &Lookup,
        put: &PutRequest,
        now: Timestamp,
    ) -> Result<Option<PutResult>, StoreError> {
        match lookup {
            Lookup::Found(stored) if stored.is_live(now) => {
                let held = !put.claim.admits(&stored.holder);
                Ok(held.then_some(PutResult::Held { until: stored.expires_at }))
            }
            _ if self.is_full(now).await? => Ok(Some(PutResult::Full(ExceededLimit::Peers))),
            _ => Ok(None),
        }
    }

    /// Whether the peer keeps its lease token, because the client proved that it has it.
    fn keeps_token(&self, lookup: &Lookup, put: &PutRequest, now: Timestamp) -> bool {
        match lookup {
            Lookup::Found(stored) => {
                stored.is_known(now, self.revival_window_millis) && put.claim.has_token_of(&stored.holder)
            }
            Lookup::Absent | Lookup::Unreadable(_) => false,
        }
    }

    /// The peer as the registration stores it.
    pub(crate) fn new_peer(
        &self,
        put: &PutRequest,
        lookup: &Lookup,
        token_kept: bool,
        generation: Generation,
        now: Timestamp,
    ) -> StoredPeer {
        let token = match lookup {
            Lookup::Found(stored) if token_kept => stored.holder.token,
            _ => put.new_token,
        };
        let expires_at = now + put.ttl;
        StoredPeer {
            json: PeerJson::new(&put.registration),
            registration: put.registration.clone(),
            expires_at,
            last_seen: now,
            registered_at: now,
            ttl: put.ttl,
            holder: Holder { source: put.claim.source, token },
            generation,
            markers_expire_at: item::marker_expiry(expires_at, self.revival_window_millis),
            indexed: true,
        }
    }

    /// Deletes the markers of archetypes that the new registration does not have. Reads ignore a
    /// marker that remains, and it expires by its time to live. So a failure here does not fail the
    /// registration.
    async fn delete_unused_markers(&self, replaced: &Lookup, kept: &[Archetype]) {
        if let Lookup::Found(stored) = replaced {
            let unused: Vec<_> =
                stored.archetypes().iter().filter(|archetype| !kept.contains(archetype)).collect();
            self.delete_markers(&stored.registration.peer_id, &unused, stored.generation).await;
        }
    }

    /// Deletes markers of a peer that still have this generation. Failures are only logged.
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
                tracing::warn!(%error, "could not delete an unused marker; it expires at its time to live");
            }
        }
    }
}

/// The condition for writing the peer.
fn condition(lookup: &Lookup, put: &PutRequest, now: Timestamp) -> Expression {
    match lookup {
        Lookup::Absent => Expression::absent(),
        Lookup::Unreadable(item) => Expression::same_unreadable(item),
        // A client that is not the holder may replace the peer only because its lease has ended. A
        // heartbeat that revives the peer in the meantime must make this write fail.
        Lookup::Found(stored) if !stored.is_live(now) && !put.claim.admits(&stored.holder) => {
            Expression::unchanged(stored)
        }
        Lookup::Found(stored) => Expression::same(stored.generation),
    }
}
