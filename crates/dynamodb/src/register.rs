//! Registering: writes the markers, then the peer, and then deletes the markers that are no longer
//! needed.
//!
//! A transaction would write a peer and its markers atomically, but it costs twice the units. The
//! order of the writes ensures instead that a peer is never without its markers:
//!
//! - The markers are written before the peer. A crash in between leaves markers whose peer is
//!   missing or does not have their archetype. Every read ignores such markers.
//! - The write of the peer is conditional. DynamoDB refuses it if another registration has been
//!   written since the item was read. The next attempt starts from the new state, and writes its
//!   markers again. A registration that succeeds has therefore written all of its markers after the
//!   registration that it replaces.
//! - A marker is deleted only if it still has the generation of the replaced registration. A marker
//!   that a concurrent registration has overwritten has another generation, and stays.

use std::sync::Arc;

use aurora_discovery_protocol::{PeerJson, Timestamp};
use aurora_discovery_registry::{ExceededLimit, Holder, PutRequest, PutResult, Standing, StoreError};
use futures_util::future::join_all;

use crate::core::{Core, Lookup, MAX_ATTEMPTS, new_generation};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item::{self, Generation, Item, StoredPeer};
use crate::source_bound::SourceAdmission;
use crate::table::WriteOutcome;

impl Core {
    pub(crate) async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        let peer = put.registration.peer_id.clone();
        let position = self.position(&peer).await?;
        let generation = new_generation()?;
        let _lock = self.lock(position).await;
        let mut lookup = self.look_up(&peer).await?;
        // While this function runs, the admission counts the newcomer at its source, so that
        // concurrent registrations of this process see it.
        let mut admission = None;
        for attempt in 0..MAX_ATTEMPTS {
            if let Some(refusal) = self.refusal(&lookup, &put, now).await? {
                return Ok(refusal);
            }
            if self.is_newcomer_at_source(&lookup, &put, now) {
                // Dropping an admission stops counting the newcomer. The admission of the previous
                // attempt must therefore be dropped before the new one starts to count it.
                drop(admission.take());
                match self.make_room(put.claim.source, position, now).await? {
                    SourceAdmission::Full => return Ok(PutResult::Full(ExceededLimit::Source)),
                    SourceAdmission::Unbounded => {}
                    SourceAdmission::Admitted(admitted) => admission = Some(admitted),
                }
            }
            let token_kept = self.keeps_token(&lookup, &put, now);
            let next = self.new_peer(&put, &lookup, token_kept, generation, now);
            let item = next.to_item(self.secret().await?, self.revival_window_millis);
            let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
            // The markers are written before the peer; see the documentation of this module.
            self.table.write_all(self.markers(&next).await?).await?;
            let condition = self.condition(&lookup, &put, now);
            let refused = match self.table.put(item, condition).await? {
                WriteOutcome::Done => None,
                WriteOutcome::Refused(item) => Some(self.look_up_again(&peer, item, attempt).await?),
            };
            match refused {
                // An earlier attempt of the SDK wrote the peer, but its response was lost. The
                // SDK's next attempt was refused because of this very write, so the registration
                // succeeded.
                Some(Lookup::Found(stored)) if stored.generation == generation => {}
                Some(other) => {
                    lookup = other;
                    continue;
                }
                None => {}
            }
            self.delete_unused_markers(&lookup, &next).await;
            self.recent.record_registration(position, Arc::new(next));
            return Ok(PutResult::Stored { token_kept });
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }

    /// Returns a refusal if the stored peer does not permit the registration (it has another
    /// holder, for example), or if a live peer would be added beyond the limit of all live peers.
    async fn refusal(
        &self,
        lookup: &Lookup,
        put: &PutRequest,
        now: Timestamp,
    ) -> Result<Option<PutResult>, StoreError> {
        let stored = self.known(lookup, now);
        if let Some(stored) = stored
            && let Err(refusal) = stored.standing().check_registration(&put.replacement(), now)
        {
            return Ok(Some(refusal));
        }
        let live = stored.filter(|stored| stored.is_live(now));
        if live.is_none() && self.is_full(now).await? {
            return Ok(Some(PutResult::Full(ExceededLimit::Peers)));
        }
        Ok(None)
    }

    /// Whether the registration adds a live peer to its source. A live peer that registers again
    /// from another source is a newcomer at that source.
    fn is_newcomer_at_source(&self, lookup: &Lookup, put: &PutRequest, now: Timestamp) -> bool {
        let live = self.known(lookup, now).filter(|stored| stored.is_live(now));
        live.is_none_or(|stored| stored.holder.source != put.claim.source)
    }

    /// The peer, if it is live, dormant or a tombstone.
    fn known<'a>(&self, lookup: &'a Lookup, now: Timestamp) -> Option<&'a StoredPeer> {
        match lookup {
            Lookup::Found(stored) => Some(&**stored).filter(|s| s.is_known(now, self.revival_window_millis)),
            Lookup::Absent | Lookup::Unreadable(_) => None,
        }
    }

    /// Whether the peer keeps its lease token: the registration is not signed, and the client has
    /// presented the token.
    fn keeps_token(&self, lookup: &Lookup, put: &PutRequest, now: Timestamp) -> bool {
        self.known(lookup, now).is_some_and(|stored| put.keeps_token_of(&stored.holder))
    }

    /// The peer that the registration writes. `lookup` is what it replaces, and `token_kept` says
    /// whether the peer keeps its lease token.
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
        let before = self.known(lookup, now).map(StoredPeer::standing);
        let signature = put.signing.signature();
        let mut peer = StoredPeer {
            json: PeerJson::new(&put.registration),
            registration: put.registration.clone(),
            expires_at: now + put.ttl,
            last_seen: now,
            registered_at: now,
            ttl: put.ttl,
            holder: Holder {
                source: put.claim.source,
                token,
                page: put.claim.page.page(),
                token_only: put.token_only,
            },
            signed: signature.map(|signature| Standing::sign(before.as_ref(), signature, now)),
            stored_proof: Some(now),
            generation,
            markers_expire_at: 0,
            indexed: true,
        };
        peer.markers_expire_at = peer.marker_expiry(self.revival_window_millis);
        peer
    }

    /// The condition for writing the peer. It must fail if the registration may no longer be
    /// permitted.
    ///
    /// If even the `strongest_standing` of the stored registration permits the new one, only a
    /// change of the generation can take the permission away. Otherwise a heartbeat can take it
    /// away too. The condition then requires that the lease and the proof are unchanged as well.
    fn condition(&self, lookup: &Lookup, put: &PutRequest, now: Timestamp) -> Expression {
        match lookup {
            Lookup::Absent => Expression::absent(),
            Lookup::Unreadable(item) => Expression::same_unreadable(item),
            Lookup::Found(stored) => {
                let strongest = stored.strongest_standing(now);
                let lasts = strongest.check_registration(&put.replacement(), now).is_ok();
                if lasts {
                    Expression::same_generation(stored.generation)
                } else {
                    Expression::unchanged(stored)
                }
            }
        }
    }

    /// Deletes the markers of archetypes that the new registration does not have.
    ///
    /// A failure does not fail the registration: reads ignore a marker that remains, and it expires
    /// by its time to live. If the peer has another source than before, the marker of the former
    /// source remains, because deleting it would cost two write units.
    async fn delete_unused_markers(&self, replaced: &Lookup, next: &StoredPeer) {
        if let Lookup::Found(stored) = replaced {
            let kept = next.marker_keys(false);
            let unused = stored.marker_keys(false).into_iter().filter(|key| !kept.contains(key)).collect();
            self.delete_markers(unused, stored.generation).await;
        }
    }

    /// The markers that a peer must have. The marker of its source is one of them if the peers of
    /// this source are bounded.
    pub(crate) async fn markers(&self, peer: &StoredPeer) -> Result<Vec<Item>, StoreError> {
        Ok(peer.markers(self.secret().await?, self.is_bounded(peer.holder.source)))
    }

    /// The keys of [`Core::markers`], in the same order.
    pub(crate) fn marker_keys(&self, peer: &StoredPeer) -> Vec<String> {
        peer.marker_keys(self.is_bounded(peer.holder.source))
    }

    /// Deletes the markers that still have this generation. Failures are only logged.
    pub(crate) async fn delete_markers(&self, keys: Vec<String>, generation: Generation) {
        let condition = Expression::same_generation(generation);
        let deletions = keys.iter().map(|key| self.table.delete(item::key(key), condition.clone()));
        for deletion in join_all(deletions).await {
            if let Err(error) = deletion {
                tracing::warn!(%error, "could not delete an unused marker; it stays until it expires");
            }
        }
    }
}
