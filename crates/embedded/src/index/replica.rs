//! The operations of the index for a replica: reading, comparing and setting the lease of a peer as
//! one value.

use aurora_discovery_protocol::{PeerId, Timestamp, Ttl};
use aurora_discovery_registry::{Claim, Proof, Renewal, Source, TokenHash};

use super::entry::IdHash;
use super::memory::source::Keeper;
use super::undiscovered::CoarseTime;
use super::{Index, State};

/// The lease of a peer, and the values that identify its registration. If two leases of a peer are
/// equal, the rules decide about the peer in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// When the lease ends.
    pub expires_at: Timestamp,
    /// When the lease was last acquired or renewed.
    pub last_seen: Timestamp,
    /// When the peer registered.
    pub registered_at: Timestamp,
    /// When the holder last proved itself. It may be up to one lease duration before the latest
    /// proof, because not every proof is stored.
    pub proven_at: Timestamp,
    /// When the peer deregistered, if only the lock of its name remains.
    pub left_at: Option<Timestamp>,
    /// The hash of the lease token.
    pub token: TokenHash,
    /// The source whose unproven heartbeats keep the peer alive, if any.
    pub kept_by: Option<Source>,
}

/// The decision about a heartbeat.
pub(crate) enum RenewalDecision {
    /// Nothing changes.
    Unchanged(Renewal),
    /// The peer in this slot gets this lease.
    Change { renewal: Renewal, slot: u32, after: LeaseState },
}

impl LeaseState {
    /// Whether both are the same lease, without regard to `kept_by`. The index drops `kept_by` when
    /// the lease ends, and the lease still counts as the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Self { kept_by: None, ..*self } == Self { kept_by: None, ..*other }
    }

    /// The end of a lease that a heartbeat at `now` renews. It is a third of `ttl` later than the
    /// client is told, so that only about every other heartbeat has to change the lease.
    fn renewed_until(ttl: Ttl, now: Timestamp) -> Timestamp {
        (now + ttl).plus_millis(ttl.as_millis() / 3)
    }
}

impl Index {
    /// The lease of the peer in a slot, exactly as stored.
    pub(crate) fn lease_state(&self, number: u32) -> LeaseState {
        let (slot, tail) = self.slots.slot_and_tail(number);
        LeaseState {
            expires_at: slot.expires_at(),
            last_seen: slot.last_seen(),
            registered_at: tail.registered_at,
            proven_at: tail.proven_at(),
            left_at: self.slots.signature(number).and_then(|signed| signed.lock.left_at),
            token: tail.holder().token,
            kept_by: tail.kept_by.map(Keeper::source),
        }
    }

    /// Sets the lease of the peer in a slot. `state` must be a lease of the same registration.
    pub(crate) fn set_lease_state(&mut self, number: u32, state: &LeaseState) {
        let is_live = state.left_at.is_none() && self.now < state.expires_at;
        let (slot, tail) = self.slots.slot_and_tail_mut(number);
        tail.set_proven_at(state.proven_at);
        let was_live = slot.state == State::Live;
        if was_live && is_live && slot.expires_at() <= state.expires_at {
            // The entry in the schedule is corrected when it comes due.
            slot.set_lease(state.last_seen, state.expires_at);
        } else {
            if was_live && !is_live {
                self.record_departure(number);
            }
            self.leave_state(number);
            self.slots[number].set_lease(state.last_seen, state.expires_at);
            if is_live && !was_live {
                // No page could list the peer while it was dormant. Like a newcomer, it is exempt
                // from the count of undiscovered peers for one lease.
                self.slots[number].last_listed.set(CoarseTime::of(self.now));
            }
            self.enter_state(number, if is_live { State::Live } else { State::Dormant });
            if is_live && !was_live {
                self.record_change(number, None);
            }
        }
        if is_live {
            self.set_keeper(number, state.kept_by.and_then(Keeper::new));
        }
    }

    /// Decides about a heartbeat. The index must be up to `now`. Changes nothing.
    pub(crate) fn decide_renewal(
        &self,
        peer: &PeerId,
        hash: IdHash,
        claim: &Claim,
        now: Timestamp,
    ) -> RenewalDecision {
        let Some(slot) = self.find(peer, hash) else {
            return RenewalDecision::Unchanged(Renewal::Unknown);
        };
        let standing = self.standing(slot, now);
        if standing.is_tombstone() {
            return RenewalDecision::Unchanged(Renewal::Unknown);
        }
        let proof = match standing.check_renewal(claim, self.limits.revival_window_millis, now) {
            Ok(proof) => proof,
            Err(held) => return RenewalDecision::Unchanged(Renewal::Held(held)),
        };
        let (before, keeper) = (self.lease_state(slot), self.keeper(claim, proof));
        if before.kept_by.and_then(Keeper::new) != keeper && self.is_at_limit(keeper) {
            return RenewalDecision::Unchanged(Renewal::UnprovenLimit);
        }
        let revived = self.slots[slot].state == State::Dormant;
        let mut after = LeaseState { kept_by: keeper.map(Keeper::source), ..before };
        if revived || before.expires_at < now + standing.ttl {
            // The clock of another process may be slightly ahead of `now`. `last_seen` must not go
            // back.
            after.last_seen = before.last_seen.max(now);
            after.expires_at = LeaseState::renewed_until(standing.ttl, now);
        }
        if proof == Proof::Proven && standing.proof_is_due(now) {
            after.proven_at = before.proven_at.max(now);
        }
        let renewal = Renewal::Renewed { ttl: standing.ttl, revived, registered_at: before.registered_at };
        if after == before {
            RenewalDecision::Unchanged(renewal)
        } else {
            RenewalDecision::Change { renewal, slot, after }
        }
    }

    /// Whether the latest advance of the index was before `time`.
    pub(crate) fn is_before(&self, time: Timestamp) -> bool {
        self.now < time
    }

    /// Counts a revival by a heartbeat.
    pub(crate) fn count_revival(&mut self) {
        self.counts.revived += 1;
    }

    /// Looks at the next `steps` slots from `first` on, and deletes those of their peers that
    /// `keep` does not select. Returns the slot to continue at, or `None` at the end.
    pub(crate) fn retain(&mut self, first: u32, steps: u32, keep: &dyn Fn(&str) -> bool) -> Option<u32> {
        let end = first.saturating_add(steps).min(self.slot_count());
        for number in first..end {
            if self.slots[number].state == State::Vacant {
                continue;
            }
            let id = self.slots.encoded(number).peer_id();
            if !keep(super::entry::text(&id)) {
                self.remove(number);
            }
        }
        (end < self.slot_count()).then_some(end)
    }
}
