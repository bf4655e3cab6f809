//! The reference model: the states that the contract allows for each peer.

use std::collections::HashMap;

use aurora_discovery_protocol::{Archetype, PeerId, Timestamp, Ttl};

use super::super::harness::{Listing, WINDOW};
use crate::{
    Claim, Held, Holder, Lock, Proof, PutRequest, PutResult, Query, Removal, Renewal, SignedPeer, Standing,
    TokenHash,
};

/// The revival window in milliseconds.
const WINDOW_MILLIS: u64 = WINDOW * 1_000;
/// The longest time for which a name stays locked after its lease, in milliseconds.
const LOCKED_MILLIS: u64 = 30 * 86_400_000;
/// The number of leases without proof after which any client may replace a peer.
const UNPROVEN_LEASES: u64 = 12;
/// The number of leases for which a token-only name stays reserved.
const RESERVED_LEASES: u64 = 3;

#[derive(Default)]
pub(super) struct Model {
    peers: HashMap<PeerId, KnownPeer>,
}

struct KnownPeer {
    put: PutRequest,
    holder: Holder,
    signed: Option<SignedPeer>,
    /// When its name was locked. A registration continues a lock that is still in force, and begins
    /// a new one otherwise. The end of a lock depends on the end of the lease, so the model may not
    /// know which of the two happened.
    locked: Range,
    lease_end: Range,
    proven_at: Range,
}

/// The range in which a time of the store is, inclusive. A store may extend a lease by up to a
/// third, and need not store every proof, so that the model does not know the exact times. Each
/// result of the store narrows the range.
#[derive(Clone, Copy, Debug)]
struct Range {
    earliest: Timestamp,
    latest: Timestamp,
}

impl Range {
    fn exactly(time: Timestamp) -> Self {
        Self { earliest: time, latest: time }
    }

    fn of_lease(ttl: Ttl, now: Timestamp) -> Self {
        let earliest = now + ttl;
        Self { earliest, latest: earliest.plus_millis(ttl.as_millis() / 3) }
    }

    fn contains(self, time: Timestamp) -> bool {
        (self.earliest..=self.latest).contains(&time)
    }
}

/// Narrows the range of a lease's end by what a result of the store shows.
impl Range {
    fn observed_live(&mut self, now: Timestamp) {
        assert!(now < self.latest, "live at {now:?}, but its lease ended: {self:?}");
        self.earliest = self.earliest.max(now.plus_millis(1));
    }

    fn observed_not_live(&mut self, now: Timestamp) {
        assert!(now >= self.earliest, "not live at {now:?}, but its lease runs: {self:?}");
        self.latest = self.latest.min(now);
    }
}

impl KnownPeer {
    fn standing(&self, expires_at: Timestamp, proven_at: Timestamp, since: Timestamp) -> Standing {
        let lock = self.signed.as_ref().map(|signed| Lock { since, ..signed.lock });
        Standing { holder: self.holder, proven_at, ttl: self.put.ttl, expires_at, lock }
    }

    /// The earliest and the latest time at which the peer becomes unknown.
    fn unknown_from(&self) -> Range {
        let [earliest, latest] =
            [self.weakest(), self.strongest()].map(|standing| standing.known_until(WINDOW_MILLIS));
        Range { earliest, latest }
    }

    fn is_tombstone(&self) -> bool {
        self.weakest().is_tombstone()
    }

    fn observed_known(&self, now: Timestamp) {
        let end = self.unknown_from().latest;
        assert!(now < end, "known at {now:?}, after {end:?}: {:?}", self.lease_end);
    }

    fn observed_unknown(&self, now: Timestamp) {
        let end = self.unknown_from().earliest;
        assert!(
            now >= end || self.is_tombstone(),
            "unknown at {now:?}, before {end:?}: {:?}",
            self.lease_end
        );
    }

    /// The standing that protects the peer the least, among those that are possible.
    fn weakest(&self) -> Standing {
        self.standing(self.lease_end.earliest, self.proven_at.earliest, self.locked.latest)
    }

    /// The standing that protects the peer the most, among those that are possible.
    fn strongest(&self) -> Standing {
        self.standing(self.lease_end.latest, self.proven_at.latest, self.locked.earliest)
    }

    /// Records that the store refused a change with `held`. `check` returns what the rules say for
    /// one possible end of the lease. At least one possible end must give `held`, and the range is
    /// narrowed to the ends that do. There may be two such ends: after a restart, `held.until` may
    /// be the end of a lease or of a reservation.
    fn observed_refusal(&mut self, held: Held, check: impl Fn(&Standing) -> Result<(), Held>) {
        let reserved = RESERVED_LEASES * self.put.ttl.as_millis();
        let mut ends =
            [0, reserved, WINDOW_MILLIS, LOCKED_MILLIS].map(|after| held.until.minus_millis(after)).to_vec();
        // A lock outlasts the lease by the time from the beginning of the lock to the end of the
        // lease. The end of the lease is therefore halfway between the beginning and the end of the
        // lock.
        let since = [self.locked.earliest, self.locked.latest];
        ends.extend(since.map(|since| since.plus_millis(held.until.millis_since(since) / 2)));
        let is_possible = |end: &Timestamp| {
            let refuses = |since| check(&self.standing(*end, self.proven_at.latest, since)) == Err(held);
            self.lease_end.contains(*end) && since.into_iter().any(refuses)
        };
        let possible: Vec<_> = ends.into_iter().filter(is_possible).collect();
        let (Some(earliest), Some(latest)) = (possible.iter().copied().min(), possible.iter().copied().max())
        else {
            panic!("refused with {held:?}: {:?}", self.weakest())
        };
        self.lease_end = Range { earliest, latest };
    }

    fn observed_proof(&mut self, now: Timestamp) {
        // A store need not replace the stored time of a proof that is at most a lease old.
        let due = now.minus_millis(self.put.ttl.as_millis());
        self.proven_at = Range { earliest: self.proven_at.earliest.max(due), latest: now };
    }
}

impl Model {
    pub(super) fn token_of(&self, peer: &PeerId) -> Option<TokenHash> {
        self.peers.get(peer).map(|known| known.holder.token)
    }

    /// The address that the peer published. In these histories, it is also the address that the
    /// peer registered from.
    pub(super) fn address_of(&self, peer: &PeerId) -> Option<String> {
        self.peers.get(peer).map(|known| known.put.registration.address.to_string())
    }

    pub(super) fn ttl_of(&self, peer: &PeerId) -> Option<Ttl> {
        self.peers.get(peer).map(|known| known.put.ttl)
    }

    /// The earliest and the latest possible end of the lease.
    pub(super) fn lease_end_of(&self, peer: &PeerId) -> Option<(Timestamp, Timestamp)> {
        self.peers.get(peer).map(|known| (known.lease_end.earliest, known.lease_end.latest))
    }

    pub(super) fn registered(&mut self, put: PutRequest, placement: PutResult, now: Timestamp) {
        let known = self.peers.get_mut(&put.registration.peer_id);
        let mut token = put.new_token;
        let check = |standing: &Standing| standing.check_registration(&put.replacement(), now);
        match (placement, known) {
            (PutResult::Stored { token_kept }, None) => {
                assert!(!token_kept, "an unknown peer has no token to keep");
            }
            (refused @ (PutResult::Locked { .. } | PutResult::Stale { .. }), Some(known)) => {
                assert_eq!(
                    check(&known.strongest()),
                    Err(refused),
                    "{put:?} did not replace {:?}",
                    known.strongest()
                );
                return known.observed_known(now);
            }
            (PutResult::Stored { token_kept }, Some(known)) => {
                assert_eq!(check(&known.weakest()), Ok(()), "{put:?} replaced {:?}", known.weakest());
                if token_kept {
                    known.observed_known(now);
                    assert!(
                        put.claim.has_token_of(&known.holder),
                        "the store kept a token that the caller did not present"
                    );
                    token = known.holder.token;
                } else if put.keeps_token_of(&known.holder) {
                    known.observed_unknown(now);
                }
            }
            (PutResult::Held(held), Some(known)) => {
                known.observed_refusal(held, |standing| match check(standing) {
                    Err(PutResult::Held(held)) => Err(held),
                    _ => Ok(()),
                });
                if !known.holder.token_only {
                    let silence = UNPROVEN_LEASES * known.put.ttl.as_millis();
                    let since = now.minus_millis(silence).plus_millis(1);
                    known.proven_at.earliest = known.proven_at.earliest.max(since);
                }
                return;
            }
            (refused, _) => panic!("{put:?} was refused: {refused:?}"),
        }
        let before = self.peers.get(&put.registration.peer_id);
        let sign = |before: Option<Standing>| {
            put.signing.signature().map(|signature| Standing::sign(before.as_ref(), signature, now))
        };
        let (signed, longest) =
            (sign(before.map(KnownPeer::weakest)), sign(before.map(KnownPeer::strongest)));
        let since = |signed: &Option<SignedPeer>| signed.as_ref().map_or(now, |signed| signed.lock.since);
        let locked = Range { earliest: since(&longest), latest: since(&signed) };
        let PutRequest { claim, token_only, ttl, .. } = put;
        let holder = Holder { source: claim.source, token, page: claim.page.page(), token_only };
        let (lease_end, proven_at) = (Range::of_lease(ttl, now), Range::exactly(now));
        self.peers.insert(
            put.registration.peer_id.clone(),
            KnownPeer { put, holder, signed, locked, lease_end, proven_at },
        );
    }

    pub(super) fn renewed(&mut self, peer: &PeerId, claim: &Claim, renewal: Renewal, now: Timestamp) {
        let Some(known) = self.peers.get_mut(peer) else {
            return assert_eq!(renewal, Renewal::Unknown, "a heartbeat never creates a peer");
        };
        let check = |standing: &Standing| standing.check_renewal(claim, WINDOW_MILLIS, now);
        match renewal {
            Renewal::Renewed { ttl, revived, .. } => {
                assert!(!known.is_tombstone(), "{peer} has deregistered");
                assert_eq!(ttl, known.put.ttl);
                if revived {
                    known.lease_end.observed_not_live(now);
                    known.observed_known(now);
                } else {
                    known.lease_end.observed_live(now);
                }
                match check(&known.weakest()) {
                    Ok(Proof::Proven) => known.observed_proof(now),
                    Ok(Proof::Unproven) => {}
                    Err(held) => panic!("{claim:?} renewed {peer}, but should get {held:?}"),
                }
                known.lease_end = Range::of_lease(known.put.ttl, now);
            }
            Renewal::Held(held) => {
                known.observed_refusal(held, |standing| check(standing).map(drop));
            }
            Renewal::Unknown => {
                known.observed_unknown(now);
                if !known.is_tombstone() {
                    self.peers.remove(peer);
                }
            }
            Renewal::UnprovenLimit => panic!("the history has fewer peers than the bound"),
        }
    }

    pub(super) fn deregistered(&mut self, peer: &PeerId, claim: &Claim, removal: Removal, now: Timestamp) {
        let Some(known) = self.peers.get_mut(peer) else {
            return assert_eq!(removal, Removal::Unknown);
        };
        let check = |standing: &Standing| standing.check_removal(claim, WINDOW_MILLIS, now);
        match removal {
            Removal::Held(held) => return known.observed_refusal(held, check),
            Removal::Removed { was_live } => {
                assert!(!known.is_tombstone(), "{peer} has deregistered");
                assert_eq!(check(&known.weakest()), Ok(()), "{claim:?} removed {:?}", known.weakest());
                if was_live {
                    known.lease_end.observed_live(now);
                } else {
                    known.lease_end.observed_not_live(now);
                    known.observed_known(now);
                }
            }
            Removal::Unknown => {
                known.observed_unknown(now);
                if known.is_tombstone() {
                    return;
                }
            }
        }
        match (removal, &known.signed) {
            (Removal::Removed { .. }, Some(signed)) => {
                known.signed = Some(signed.left(now));
                known.lease_end = Range {
                    earliest: known.lease_end.earliest.min(now),
                    latest: known.lease_end.latest.min(now),
                };
            }
            _ => drop(self.peers.remove(peer)),
        }
    }

    /// `whole` means that the pages are complete, so that a matching peer that they do not list is
    /// not live.
    pub(super) fn listed(&mut self, query: &Query, pages: &[Listing], whole: bool, now: Timestamp) {
        let mut listed: HashMap<_, _> =
            pages.iter().flat_map(|page| &page.peers).map(|peer| (peer.peer_id.clone(), peer)).collect();
        for (id, known) in &mut self.peers {
            match listed.remove(id) {
                Some(peer) => {
                    let published = &known.put.registration;
                    assert_eq!(
                        (&peer.archetypes, &peer.metadata),
                        (&published.archetypes, &published.metadata)
                    );
                    assert!(matches(query, known), "{id} does not match");
                    known.lease_end.observed_live(now);
                }
                None if whole && matches(query, known) => known.lease_end.observed_not_live(now),
                None => {}
            }
        }
        assert!(listed.is_empty(), "listed, but not registered: {listed:?}");
    }

    pub(super) fn counted(&self, live: u64, dormant: u64, now: Timestamp) {
        let count = |state: &dyn Fn(&KnownPeer) -> bool| {
            let known = self.peers.values().filter(|known| !known.is_tombstone());
            known.filter(|known| state(known)).map(|_| 1_u64).sum::<u64>()
        };
        let surely_live = count(&|known| now < known.lease_end.earliest);
        let maybe_live = count(&|known| now < known.lease_end.latest);
        assert!((surely_live..=maybe_live).contains(&live), "{live} live: {surely_live} to {maybe_live}");
        let surely_known = count(&|known| now < known.unknown_from().earliest);
        let maybe_known = count(&|known| now < known.unknown_from().latest);
        let known = live + dormant;
        assert!(
            (surely_known..=maybe_known).contains(&known),
            "{known} known: {surely_known} to {maybe_known}"
        );
    }

    /// Each peer that was live when the store stopped has one whole lease, and the start counts as
    /// its last proof. For all other peers, the model does not know what the store did. It allows
    /// the lease and the proof from before the stop, and also a whole lease and a proof from the
    /// start.
    pub(super) fn restarted(&mut self, stopped: Timestamp, now: Timestamp) {
        for known in self.peers.values_mut().filter(|known| !known.is_tombstone()) {
            let whole = Range::of_lease(known.put.ttl, now);
            known.lease_end.latest = whole.latest;
            known.proven_at.latest = now;
            if stopped < known.lease_end.earliest {
                known.lease_end.earliest = whole.earliest;
                known.proven_at.earliest = now;
            }
        }
    }
}

fn matches(query: &Query, known: &KnownPeer) -> bool {
    let carried: &[Archetype] = known.put.registration.archetypes.as_slice();
    let excluded = query.exclude.as_ref() == Some(&known.put.registration.peer_id);
    let wanted = query.archetypes.is_empty() || query.archetypes.iter().any(|a| carried.contains(a));
    wanted && !excluded
}
