//! Renewing: reads the peer, and writes it only if its stored lease ends too early, or if the
//! stored proof of its holder is too old.
//!
//! A heartbeat is *unproven* if it does not show that the sender is the holder. Other stores limit
//! how many peers one source keeps alive by unproven heartbeats. This store does not, because it
//! would have to write a count with each of these heartbeats. A peer that is kept alive in this way
//! does not block its name for long: after twelve lease durations without a proof, any client may
//! replace it.

use std::collections::HashMap;
use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Proof, Renewal, StoreError};

use crate::core::{Core, Lookup, MAX_ATTEMPTS};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item::{self, StoredPeer};
use crate::lane::RingPosition;
use crate::table::WriteOutcome;

/// If a renewal is written, the lease runs for longer than the granted duration. The extra time is
/// that duration divided by this number. A heartbeat that arrives within the extra time after that
/// write finds a lease that is long enough, and writes nothing.
const AHEAD: u64 = 3;

impl Core {
    pub(crate) async fn renew(
        &self,
        peer: &PeerId,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        let lookup = self.look_up(peer).await?;
        self.renew_from(peer, claim, lookup, now).await
    }

    /// Reads the items of several peers with strong consistency. The results are in the order of
    /// the peers. One call of DynamoDB reads up to a hundred items.
    pub(crate) async fn look_up_all(
        &self,
        peers: impl Iterator<Item = &PeerId> + Clone + Send,
    ) -> Result<Vec<Lookup>, StoreError> {
        let keys = peers.clone().map(item::peer_key).collect();
        let items = self.table.read_all_consistent(keys).await?;
        let mut read: HashMap<_, _> =
            items.into_iter().filter_map(|item| Some((item::key_of(&item)?.to_owned(), item))).collect();
        Ok(peers.map(|peer| self.classify(read.remove(peer.as_str()))).collect())
    }

    /// The same as [`Core::renew`], for a peer that has already been read.
    pub(crate) async fn renew_from(
        &self,
        peer: &PeerId,
        claim: &Claim,
        mut lookup: Lookup,
        now: Timestamp,
    ) -> Result<Renewal, StoreError> {
        let position = self.position(peer).await?;
        let mut revived = false;
        for attempt in 0..MAX_ATTEMPTS {
            let Lookup::Found(stored) = lookup else { return Ok(Renewal::Unknown) };
            if !stored.is_known(now, self.revival_window_millis) {
                return Ok(Renewal::Unknown);
            }
            let standing = stored.standing();
            if standing.is_tombstone() {
                return Ok(Renewal::Unknown);
            }
            let proven = match standing.check_renewal(claim, self.revival_window_millis, now) {
                Ok(proof) => proof == Proof::Proven,
                Err(held) => return Ok(Renewal::Held(held)),
            };
            revived |= !stored.is_live(now);
            let renewed = Renewal::Renewed { ttl: stored.ttl, revived, registered_at: stored.registered_at };
            // An earlier renewal extended the lease far enough, and no proof has to be stored.
            if stored.expires_at >= now + stored.ttl && !(proven && standing.proof_is_due(now)) {
                return Ok(renewed);
            }
            match self.write_renewal(position, *stored, proven, now).await? {
                WriteOutcome::Done => return Ok(renewed),
                WriteOutcome::Refused(item) => lookup = self.look_up_again(peer, item, attempt).await?,
            }
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }

    /// Writes the longer lease, and the time of the proof if the heartbeat is `proven`.
    ///
    /// The condition is that the table still has the registration that was read, and no newer lease
    /// or proof. Another registration could have another holder, so the heartbeat might prove
    /// nothing for it.
    async fn write_renewal(
        &self,
        position: RingPosition,
        stored: StoredPeer,
        proven: bool,
        now: Timestamp,
    ) -> Result<WriteOutcome, StoreError> {
        let longest = now.plus_millis(stored.ttl.as_millis() + stored.ttl.as_millis() / AHEAD);
        // If only the proof has to be written, the stored lease may end later than the new one. For
        // each time, the maximum of the old and the new value is written. So a process whose clock
        // is behind does not move a time back.
        let expires_at = longest.max(stored.expires_at);
        // Earlier releases stored no proof, and `last_seen` is used instead. This write changes
        // `last_seen`, so it stores the time of the proof as well.
        let proven_at = stored.standing().proven_at;
        let stored_proof = Some(if proven { now.max(proven_at) } else { proven_at });
        let writes_proof = proven || stored.stored_proof.is_none();
        let last_seen = now.max(stored.last_seen);
        let mut renewed = StoredPeer { expires_at, last_seen, stored_proof, indexed: true, ..stored.clone() };
        let markers_suffice = renewed.deletable_at(self.revival_window_millis) <= stored.markers_expire_at;
        if !markers_suffice || !stored.indexed {
            renewed.markers_expire_at = renewed.marker_expiry(self.revival_window_millis);
            // The markers are written before the peer, as in a registration. Otherwise a crash in
            // between could leave a peer whose markers expire before it.
            self.table.write_all(self.markers(&renewed).await?).await?;
        }
        let written = if stored.indexed {
            let update = Expression::renewal(&renewed, writes_proof, self.revival_window_millis);
            let condition = Expression::not_newer_than(&renewed, writes_proof);
            self.table.update(item::peer_key(&stored.registration.peer_id), update, condition).await?
        } else {
            let item = renewed.to_item(self.secret().await?, self.revival_window_millis);
            let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
            // The sweep removed the peer from the index. The whole item is written, which gives it
            // its index keys back.
            self.table.put(item, Expression::unchanged(&stored)).await?
        };
        if matches!(written, WriteOutcome::Done) {
            self.recent.record_renewal(position, Arc::new(renewed));
        }
        Ok(written)
    }
}
