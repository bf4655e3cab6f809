//! Heartbeats: renewing live peers and reviving dormant ones.
//!
//! An unproven heartbeat may come from any client. The source of the latest unproven heartbeat of a
//! peer is the *keeper* of the peer, and each source may keep a limited number of peers alive in
//! this way. A proven heartbeat, a registration and the end of the lease release the peer from its
//! keeper.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Claim, Proof, Renewal};

use super::entry::IdHash;
use super::memory::source::Keeper;
use super::undiscovered::CoarseTime;
use super::{Index, State};
use crate::record::Record;

impl Index {
    /// Renews the lease of a peer that is live at `now`, concurrently with reads and other
    /// renewals. Returns `None` if the heartbeat needs exclusive access to the index: the peer is
    /// dormant, its lease has ended, or the heartbeat changes its keeper.
    pub(crate) fn renew(
        &self,
        peer: &PeerId,
        hash: IdHash,
        claim: &Claim,
        now: Timestamp,
    ) -> Option<Renewal> {
        // Leases and evictions that are due may not have been processed yet. Processing them only
        // removes peers, so a peer that is unknown now would be unknown afterwards too.
        let Some(number) = self.find(peer, hash) else { return Some(Renewal::Unknown) };
        let (slot, tail) = self.slots.slot_and_tail(number);
        if !slot.is_live_at(now) {
            return None;
        }
        let standing = self.standing(number, now);
        let proof = match standing.check_renewal(claim, self.limits.revival_window_millis, now) {
            Ok(proof) => proof,
            Err(held) => return Some(Renewal::Held(held)),
        };
        let keeper = self.keeper(claim, proof);
        if tail.kept_by != keeper {
            // A refusal here needs no exclusive access, so a source at its limit cannot hold up
            // readers. Leases that have ended but are not processed yet still count, so a refusal
            // is certain only if no work is due.
            let is_refused = self.is_at_limit(keeper) && !self.is_due(now);
            return is_refused.then_some(Renewal::UnprovenLimit);
        }
        if proof == Proof::Proven && standing.proof_is_due(now) {
            tail.prove(now);
        }
        slot.renew(now);
        Some(Renewal::Renewed { ttl: standing.ttl, revived: false, registered_at: tail.registered_at })
    }

    /// Whether the peer is dormant, so that a heartbeat may revive it. Also `true` for a tombstone.
    /// The index must be up to the current time.
    pub(crate) fn is_dormant(&self, peer: &PeerId, hash: IdHash) -> bool {
        self.find(peer, hash).is_some_and(|number| self.slots[number].state == State::Dormant)
    }

    /// Renews or revives a peer. The index must be up to `now`.
    pub(crate) fn renew_exclusively(
        &mut self,
        peer: &PeerId,
        hash: IdHash,
        claim: &Claim,
        now: Timestamp,
        log: &mut dyn FnMut(&Record<'_>),
    ) -> Renewal {
        let Some(number) = self.find(peer, hash) else { return Renewal::Unknown };
        let standing = self.standing(number, now);
        if standing.is_tombstone() {
            return Renewal::Unknown;
        }
        let proof = match standing.check_renewal(claim, self.limits.revival_window_millis, now) {
            Ok(proof) => proof,
            Err(held) => return Renewal::Held(held),
        };
        let (slot, tail) = self.slots.slot_and_tail(number);
        let (registered_at, keeper) = (tail.registered_at, self.keeper(claim, proof));
        if tail.kept_by != keeper && self.is_at_limit(keeper) {
            return Renewal::UnprovenLimit;
        }
        if proof == Proof::Proven && standing.proof_is_due(now) {
            tail.prove(now);
        }
        let revived = slot.state == State::Dormant;
        if revived {
            self.revive(number, now);
            log(&Record::Revived { peer: peer.as_str(), at: now.shifted_by_millis(self.time_offset()) });
        } else {
            slot.renew(now);
        }
        self.set_keeper(number, keeper);
        Renewal::Renewed { ttl: standing.ttl, revived, registered_at }
    }

    /// Replaces the keeper of a live peer.
    pub(super) fn set_keeper(&mut self, number: u32, keeper: Option<Keeper>) {
        let tail = self.slots.slot_and_tail_mut(number).1;
        let before = std::mem::replace(&mut tail.kept_by, keeper);
        if before != keeper {
            before.into_iter().for_each(|keeper| self.quota.remove_kept(keeper));
            keeper.into_iter().for_each(|keeper| self.quota.add_kept(keeper));
        }
    }

    fn revive(&mut self, number: u32, now: Timestamp) {
        self.counts.revived += 1;
        self.leave_state(number);
        let slot = &mut self.slots[number];
        slot.set_lease(now, now + slot.ttl);
        // No page could list the peer while it was dormant. Like a newcomer, it is exempt from the
        // count of undiscovered peers for one lease.
        slot.last_listed.set(CoarseTime::of(now));
        self.enter_state(number, State::Live);
        self.record_change(number, None);
    }

    /// The keeper of a peer after a heartbeat. `None` if the heartbeat counts against no limit.
    pub(super) fn keeper(&self, claim: &Claim, proof: Proof) -> Option<Keeper> {
        match proof {
            Proof::Unproven if self.limits.max_peers_per_source > 0 => Keeper::new(claim.source),
            Proof::Proven | Proof::Unproven => None,
        }
    }

    /// Whether a keeper may keep no further peer alive.
    pub(super) fn is_at_limit(&self, keeper: Option<Keeper>) -> bool {
        keeper.is_some_and(|keeper| self.quota.kept_by(keeper) >= self.limits.max_peers_per_source)
    }
}
