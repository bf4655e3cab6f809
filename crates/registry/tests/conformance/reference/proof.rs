//! Which client may change a peer of the reference store: [`Standing`] decides, unless a fault is
//! built in.

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{
    Claim, Held, Holder, Lock, Proof, PutRequest, PutResult, Replacement, Source, TokenHash, WebOrigin,
};

use super::{Entry, Fault, Peers, Reference};

impl Reference {
    /// The holder of a new registration.
    pub(super) fn holder(&self, put: &PutRequest, token: TokenHash) -> Holder {
        Holder {
            source: put.claim.source,
            token,
            page: put.claim.page.page().filter(|_| !self.is(Fault::ForgetsPages)),
            token_only: put.token_only && !self.is(Fault::IgnoresTokenOnly),
        }
    }

    pub(super) fn check_registration(
        &self,
        entry: &Entry,
        put: &PutRequest,
        now: Timestamp,
    ) -> Result<(), PutResult> {
        let mut standing = entry.standing();
        let claim = self.seen(&put.claim);
        match self.fault {
            Some(Fault::AnyoneOverwrites) => return Ok(()),
            Some(Fault::ReservesNothing) if !entry.is_live(now) => return Ok(()),
            Some(Fault::NeverFreesNames) => standing.proven_at = now,
            Some(Fault::WrongTokenLocksOut) if is_wrong(&claim, entry) && entry.is_live(now) => {
                return Err(PutResult::Held(Held { until: entry.expires }));
            }
            Some(Fault::AcceptsAnyKey) => standing.lock = None,
            Some(Fault::AcceptsOldRecords) => {
                standing.lock = standing.lock.map(|lock| Lock { seq: 0, ..lock });
            }
            Some(Fault::AddressSigns)
                if standing.lock.is_none() && claim.comes_from(&entry.holder) && !entry.holder.token_only =>
            {
                return Ok(());
            }
            _ => {}
        }
        let token_only = put.token_only && !self.is(Fault::AddressMakesTokenOnly);
        let put = Replacement { claim: &claim, token_only, signing: &put.signing };
        standing.check_registration(&put, now)
    }

    pub(super) fn check_removal(&self, entry: &Entry, claim: &Claim, now: Timestamp) -> Result<(), Held> {
        let free = match self.fault {
            Some(Fault::AnyoneDeregisters) => true,
            Some(Fault::AnyoneDeregistersDormant) => !entry.is_live(now),
            _ => false,
        };
        let check = entry.standing().check_removal(&self.seen(claim), self.limits.revival_window_millis, now);
        if free { Ok(()) } else { check }
    }

    pub(super) fn check_renewal(&self, entry: &Entry, claim: &Claim, now: Timestamp) -> Result<Proof, Held> {
        let mut claim = self.seen(claim);
        if self.is(Fault::WrongTokenRenews) && is_wrong(&claim, entry) {
            claim.token = None;
        }
        let proof = entry.standing().check_renewal(&claim, self.limits.revival_window_millis, now)?;
        Ok(match self.fault {
            Some(Fault::NetworkProvesNothing)
                if !claim.comes_from(&entry.holder) && !claim.has_token_of(&entry.holder) =>
            {
                Proof::Unproven
            }
            Some(Fault::EveryHeartbeatProves) => Proof::Proven,
            _ => proof,
        })
    }

    /// Whether `source` must not keep `id` alive by unproven heartbeats, because it keeps its
    /// maximum number of other peers alive by such heartbeats.
    pub(super) fn exceeds_unproven_bound(
        &self,
        peers: &Peers,
        id: &PeerId,
        source: Source,
        now: Timestamp,
    ) -> bool {
        let bound = usize::try_from(self.limits.max_peers_per_source).unwrap();
        let counts = |entry: &Entry| entry.is_live(now) || self.is(Fault::LeaseEndReleasesNothing);
        let is_kept = |entry: &Entry| counts(entry) && entry.kept_by == Some(source);
        let kept = peers.values().filter(|entry| is_kept(entry)).count();
        let loopback = source.is_loopback() && !self.is(Fault::BoundsUnprovenLoopback);
        let already = is_kept(&peers[id]) && !self.is(Fault::RefusesKeptPeers);
        kept >= bound && bound > 0 && !loopback && !already && !self.is(Fault::UnboundedUnproven)
    }

    /// Stores what a heartbeat proves: the time of a proven heartbeat, or the source of an unproven
    /// one as the keeper of the peer.
    pub(super) fn note_proof(&self, entry: &mut Entry, proof: Proof, claim: &Claim, now: Timestamp) {
        match proof {
            Proof::Unproven => entry.kept_by = Some(claim.source),
            Proof::Proven => {
                if entry.standing().proof_is_due(now) && !self.is(Fault::NeverStoresProofs) {
                    entry.proven_at = now;
                }
                if !self.is(Fault::ProofReleasesNothing) {
                    entry.kept_by = None;
                }
            }
        }
    }

    fn seen(&self, claim: &Claim) -> Claim {
        let page = if self.is(Fault::TrustsPages) { WebOrigin::None } else { claim.page };
        Claim { page, ..*claim }
    }
}

fn is_wrong(claim: &Claim, entry: &Entry) -> bool {
    claim.token.is_some() && !claim.has_token_of(&entry.holder)
}
