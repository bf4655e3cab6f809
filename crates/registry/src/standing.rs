//! The rules that decide which client may replace, deregister or renew a peer that the store
//! knows.
//!
//! Every store builds the [`Standing`] of a peer from what it has stored, and calls its checks. No
//! store has rules of its own.

use aurora_discovery_protocol::{Timestamp, Ttl};

use crate::{Claim, Holder, Lock, PutResult, Signature, SignedPeer, Signing};

/// The number of leases without proof after which any client may replace a live peer that is not
/// token-only. Without this rule, a stranger could keep a name alive by unproven heartbeats
/// forever, and a holder that has lost its token and its address could never register its name
/// again.
const UNPROVEN_LEASES: u64 = 12;
/// The number of leases for which a token-only name stays reserved after its lease has ended.
const RESERVED_LEASES: u64 = 3;

/// What a store knows about the lease of a peer and its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The holder.
    pub holder: Holder,
    /// When the holder last proved itself, as far as the store knows: by a registration, or by a
    /// heartbeat whose proof was stored because [`Standing::proof_is_due`]. If a store gives new
    /// leases when it is opened, that counts as a proof, too.
    pub proven_at: Timestamp,
    /// The duration of the lease.
    pub ttl: Ttl,
    /// When the lease ends.
    pub expires_at: Timestamp,
    /// The lock of the name, if a registration of it was signed.
    pub lock: Option<Lock>,
}

/// The properties of a registration that decide whether it may replace another one.
#[derive(Clone, Copy, Debug)]
pub struct Replacement<'a> {
    /// What the caller presents to prove that it is the holder.
    pub claim: &'a Claim,
    /// Whether only the token may change the registration from now on.
    pub token_only: bool,
    /// Whether the registration is signed.
    pub signing: &'a Signing,
}

/// The refusal of a change, because the caller has not proved to be the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When the protection of the registration ends, unless it is renewed. While the lease runs,
    /// this is the end of the lease. After that it is the end of the reservation of a token-only
    /// name, or else the end of the revival window.
    pub until: Timestamp,
}

/// What a heartbeat proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The caller is the holder.
    Proven,
    /// The caller may be any client. The heartbeat renews the lease but proves nothing.
    Unproven,
}

impl Standing {
    /// Whether the lease runs.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Whether the peer has deregistered, and only the lock of its name remains. Registrations are
    /// checked against the lock. For heartbeats, deregistrations and queries, the peer is unknown.
    pub fn is_tombstone(&self) -> bool {
        self.lock.is_some_and(|lock| lock.is_tombstone())
    }

    /// The time from which the peer is unknown: the end of its revival window, or of its lock if
    /// the name is locked.
    pub fn known_until(&self, revival_window_millis: u64) -> Timestamp {
        match self.lock {
            Some(lock) => lock.ends_at(self.expires_at),
            None => self.expires_at.plus_millis(revival_window_millis),
        }
    }

    /// Checks whether a registration may replace this peer.
    ///
    /// If the name is locked, the locking key must have signed the registration, or must have
    /// signed that the new key replaces it. The sequence number must also be higher than that of
    /// the last record. If the name is not locked, or if the operator ignores signatures,
    /// [`Standing::check_replacement`] decides.
    ///
    /// # Errors
    /// The refusal: [`PutResult::Locked`], [`PutResult::Stale`] or [`PutResult::Held`].
    pub fn check_registration(&self, put: &Replacement<'_>, now: Timestamp) -> Result<(), PutResult> {
        let is_in_force =
            |lock: &Lock| now < lock.ends_at(self.expires_at) && *put.signing != Signing::Ignored;
        let Some(lock) = self.lock.filter(is_in_force) else {
            // The first signature of a name decides who may register it from then on. It therefore
            // needs the same proof as a registration that makes the name token-only.
            let token_only = put.token_only || put.signing.signature().is_some();
            return self.check_replacement(put.claim, token_only, now).map_err(PutResult::Held);
        };
        match put.signing.signature() {
            Some(signature) if signature.key == lock.key || signature.replaces == Some(lock.key) => {
                if signature.seq > lock.seq {
                    Ok(())
                } else {
                    Err(PutResult::Stale { seq: lock.seq })
                }
            }
            Some(_) | None => Err(PutResult::Locked { key: lock.key }),
        }
    }

    /// The data that a store keeps for a signature that [`Standing::check_registration`] has
    /// accepted. `before` is the standing of the peer that the registration replaces, if there is
    /// one.
    pub fn sign(before: Option<&Self>, signature: &Signature, now: Timestamp) -> SignedPeer {
        let is_in_force = |(lock, expires_at): &(Lock, Timestamp)| now < lock.ends_at(*expires_at);
        let before = before.and_then(|standing| standing.lock.map(|lock| (lock, standing.expires_at)));
        // A registration continues a lock that is in force, so that the name counts as held since
        // that lock began. After a deregistration, a new lock begins.
        let since = before
            .filter(is_in_force)
            .filter(|(lock, _)| !lock.is_tombstone())
            .map_or(now, |(lock, _)| lock.since);
        let Signature { key, seq, ref record, .. } = *signature;
        SignedPeer { lock: Lock { key, seq, since, left_at: None }, record: record.clone() }
    }

    /// Checks whether `claim` permits replacing this peer, if its name is not locked. `token_only`
    /// is the flag of the new registration, which says that only the token may change it from then
    /// on.
    ///
    /// # Errors
    /// [`Held`] if it does not.
    pub fn check_replacement(&self, claim: &Claim, token_only: bool, now: Timestamp) -> Result<(), Held> {
        if claim.holder_rule_disabled || claim.has_token_of(&self.holder) || self.is_free(now) {
            return Ok(());
        }
        // A wrong token counts as no token, so that a restarted client that still has an old token
        // is not locked out. The address alone cannot make the registration token-only. Otherwise a
        // neighbour at the same address could lock out the holder permanently.
        let by_address = !self.holder.token_only && claim.comes_from(&self.holder);
        // A replacement is refused only while the peer is live or its name is reserved. In both
        // cases, `held` does not use the revival window, so 0 is passed for it.
        if by_address && !token_only { Ok(()) } else { Err(self.held(now, 0)) }
    }

    /// Checks whether `claim` permits deregistering this peer, live or dormant.
    ///
    /// # Errors
    /// [`Held`] if it does not.
    pub fn check_removal(
        &self,
        claim: &Claim,
        revival_window_millis: u64,
        now: Timestamp,
    ) -> Result<(), Held> {
        // Once the reservation of a token-only name has ended, the address of its holder is
        // sufficient proof, as for any other name.
        let by_address = !self.is_reserved(now) && claim.comes_from(&self.holder);
        if claim.holder_rule_disabled || claim.has_token_of(&self.holder) || by_address {
            return Ok(());
        }
        Err(self.held(now, revival_window_millis))
    }

    /// What a heartbeat with `claim` proves.
    ///
    /// # Errors
    /// [`Held`] if the heartbeat must not renew the lease: its token is wrong, or it has no token
    /// although the peer is token-only and the holder rule applies.
    pub fn check_renewal(
        &self,
        claim: &Claim,
        revival_window_millis: u64,
        now: Timestamp,
    ) -> Result<Proof, Held> {
        if claim.has_token_of(&self.holder) {
            return Ok(Proof::Proven);
        }
        // If a client has a token and it is wrong, another client has usually taken over the name
        // in the meantime. The refusal tells the client so.
        if claim.token.is_some() || (self.holder.token_only && !claim.holder_rule_disabled) {
            return Err(self.held(now, revival_window_millis));
        }
        let proven = claim.holder_rule_disabled || claim.comes_from_near(&self.holder);
        Ok(if proven { Proof::Proven } else { Proof::Unproven })
    }

    /// Whether a proven heartbeat has to store the time of the proof. It has to if the stored time
    /// is more than one lease duration in the past.
    pub fn proof_is_due(&self, now: Timestamp) -> bool {
        now.millis_since(self.proven_at) > self.ttl.as_millis()
    }

    /// Whether any client may register under this name.
    fn is_free(&self, now: Timestamp) -> bool {
        let lapsed = !self.is_live(now) && !self.is_reserved(now);
        let abandoned = now.millis_since(self.proven_at) >= UNPROVEN_LEASES * self.ttl.as_millis();
        // A token-only peer is never abandoned, because every heartbeat that renews it is a proof.
        lapsed || (abandoned && !self.holder.token_only)
    }

    fn is_reserved(&self, now: Timestamp) -> bool {
        self.holder.token_only && now < self.reserved_until()
    }

    fn reserved_until(&self) -> Timestamp {
        // A signed peer is token-only. Its name stays reserved for as long as it is locked.
        if let Some(lock) = self.lock {
            return lock.ends_at(self.expires_at);
        }
        self.expires_at.plus_millis(RESERVED_LEASES * self.ttl.as_millis())
    }

    fn held(&self, now: Timestamp, revival_window_millis: u64) -> Held {
        let until = if self.is_live(now) {
            self.expires_at
        } else if self.is_reserved(now) {
            self.reserved_until()
        } else {
            self.expires_at.plus_millis(revival_window_millis)
        };
        Held { until }
    }
}

#[cfg(test)]
mod locked;

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::LeaseToken;

    use super::*;
    use crate::{Source, TokenHash, WebOrigin};

    const TTL: Ttl = Ttl::from_secs(100);
    const WINDOW: u64 = 86_400_000;
    const HOME: &str = "203.0.113.7";
    const NEIGHBOUR: &str = "203.0.113.8";
    const AWAY: &str = "198.51.100.1";

    fn token(byte: u8) -> TokenHash {
        TokenHash::of(&LeaseToken::from_random([byte; 16]))
    }

    fn claim(from: &str) -> Claim {
        Claim {
            source: Source::of(from.parse().unwrap()),
            page: WebOrigin::None,
            token: None,
            holder_rule_disabled: false,
        }
    }

    fn with(byte: u8, claim: Claim) -> Claim {
        Claim { token: Some(token(byte)), ..claim }
    }

    fn on_page(origin: &str, claim: Claim) -> Claim {
        Claim { page: WebOrigin::of_header(origin.as_bytes()), ..claim }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    /// A peer that registered at 0 from [`HOME`], with the lease of [`TTL`].
    fn standing(token_only: bool) -> Standing {
        let holder = Holder { source: claim(HOME).source, token: token(1), page: None, token_only };
        Standing { holder, proven_at: at(0), ttl: TTL, expires_at: at(100), lock: None }
    }

    #[test]
    fn a_live_peer_is_replaced_by_address_or_token_only() {
        let peer = standing(false);
        let replaces = |claim: Claim| peer.check_replacement(&claim, false, at(50)).is_ok();
        assert!(replaces(claim(HOME)) && replaces(with(1, claim(AWAY))) && replaces(with(2, claim(HOME))));
        assert!(!replaces(claim(NEIGHBOUR)) && !replaces(claim(AWAY)) && !replaces(with(2, claim(AWAY))));
        assert!(replaces(Claim { holder_rule_disabled: true, ..claim(AWAY) }));
        assert_eq!(peer.check_replacement(&claim(AWAY), false, at(50)), Err(Held { until: at(100) }));
        assert!(peer.check_replacement(&claim(AWAY), false, at(100)).is_ok(), "dormant");
    }

    #[test]
    fn a_page_proves_nothing_by_its_address_unless_it_made_the_registration() {
        let mut peer = standing(false);
        let own = on_page("https://own.example", claim(HOME));
        for page in [own, on_page("null", claim(HOME))] {
            assert!(peer.check_replacement(&page, false, at(50)).is_err());
            assert!(peer.check_removal(&page, WINDOW, at(50)).is_err());
            assert_eq!(peer.check_renewal(&page, WINDOW, at(50)), Ok(Proof::Unproven));
            assert!(peer.check_removal(&with(1, page), WINDOW, at(50)).is_ok());
        }
        peer.holder.page = own.page.page();
        assert!(peer.check_replacement(&own, false, at(50)).is_ok());
        assert_eq!(peer.check_renewal(&own, WINDOW, at(50)), Ok(Proof::Proven));
        assert!(peer.check_removal(&on_page("https://other.example", claim(HOME)), WINDOW, at(50)).is_err());
    }

    #[test]
    fn a_token_only_name_stays_reserved_for_three_leases() {
        let peer = standing(true);
        for now in [50, 100, 399] {
            for other in [claim(HOME), with(2, claim(HOME)), claim(AWAY)] {
                assert!(peer.check_replacement(&other, false, at(now)).is_err(), "{now}");
                assert!(peer.check_removal(&other, WINDOW, at(now)).is_err(), "{now}");
                assert!(peer.check_renewal(&other, WINDOW, at(now)).is_err(), "{now}");
            }
            assert!(peer.check_replacement(&with(1, claim(AWAY)), true, at(now)).is_ok());
            assert!(peer.check_removal(&with(1, claim(AWAY)), WINDOW, at(now)).is_ok());
        }
        assert_eq!(peer.check_replacement(&claim(AWAY), false, at(100)), Err(Held { until: at(400) }));
        assert!(peer.check_replacement(&claim(AWAY), false, at(400)).is_ok());
        assert!(peer.check_removal(&claim(HOME), WINDOW, at(400)).is_ok());
        assert!(peer.check_renewal(&claim(HOME), WINDOW, at(400)).is_err(), "renewing needs the token");
    }

    #[test]
    fn only_the_token_makes_a_live_registration_token_only() {
        let peer = standing(false);
        assert!(peer.check_replacement(&claim(HOME), true, at(50)).is_err());
        assert!(peer.check_replacement(&with(1, claim(HOME)), true, at(50)).is_ok());
        assert!(peer.check_replacement(&claim(AWAY), true, at(100)).is_ok(), "a free name");
    }

    #[test]
    fn deregistering_needs_proof_also_from_a_dormant_peer() {
        let peer = standing(false);
        for now in [50, 5_000] {
            assert!(peer.check_removal(&claim(AWAY), WINDOW, at(now)).is_err());
            assert!(peer.check_removal(&claim(HOME), WINDOW, at(now)).is_ok());
            assert!(peer.check_removal(&with(1, claim(AWAY)), WINDOW, at(now)).is_ok());
        }
        let refused = peer.check_removal(&claim(AWAY), WINDOW, at(5_000));
        assert_eq!(refused, Err(Held { until: at(100).plus_millis(WINDOW) }));
    }

    #[test]
    fn a_heartbeat_is_proven_by_the_token_or_the_network_and_refused_with_a_wrong_token() {
        let peer = standing(false);
        let renews = |claim: Claim| peer.check_renewal(&claim, WINDOW, at(50));
        for proven in [claim(HOME), claim(NEIGHBOUR), with(1, claim(AWAY))] {
            assert_eq!(renews(proven), Ok(Proof::Proven));
        }
        assert_eq!(renews(claim(AWAY)), Ok(Proof::Unproven));
        for wrong in [with(2, claim(HOME)), with(2, claim(AWAY))] {
            assert!(renews(wrong).is_err() && renews(Claim { holder_rule_disabled: true, ..wrong }).is_err());
        }
    }

    #[test]
    fn a_name_without_proof_for_twelve_leases_is_free() {
        let mut peer = Standing { expires_at: at(1_250), ..standing(false) };
        assert!(peer.check_replacement(&claim(AWAY), false, at(1_199)).is_err());
        assert!(peer.check_replacement(&claim(AWAY), true, at(1_200)).is_ok());
        assert!(peer.check_removal(&claim(AWAY), WINDOW, at(1_200)).is_err(), "only replaced");
        peer.holder.token_only = true;
        assert!(peer.check_replacement(&claim(AWAY), false, at(1_200)).is_err());
    }

    #[test]
    fn a_proof_is_stored_when_the_last_one_is_more_than_a_lease_old() {
        let peer = standing(false);
        assert!(!peer.proof_is_due(at(100)) && peer.proof_is_due(at(101)));
    }
}
