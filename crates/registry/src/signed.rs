//! Signed registrations: the checks that the registry makes before it calls the store.
//!
//! The registry verifies the signature, so that no store has to know how to verify one. The rate
//! limit per source bounds the work that verification costs.

use aurora_discovery_protocol::{
    Freshness, PeerId, PublicKey, RegisterRequest, SignedRecord, SignedRegisterRequest, Timestamp, Ttl,
};

use crate::{Caller, Error, Registered, Registry, Signature, SignaturePolicy, Signing, TokenHash};

/// The maximum difference between the time of a record and the time of the service, in
/// milliseconds.
const MAX_SKEW_MILLIS: u64 = 300_000;

impl Registry {
    /// Registers a peer by a signed registration. This method ignores the `discover` of the
    /// request: the caller lists the peers.
    ///
    /// # Errors
    /// As [`Registry::register`] except [`Error::SignatureRequired`], and [`Error::OtherAudience`],
    /// [`Error::StaleSignature`], [`Error::InvalidRecord`] and [`Error::StaleRecord`]. Unless the
    /// store failed, the new registration is not stored.
    pub async fn register_signed(
        &self,
        request: SignedRegisterRequest,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Registered, Error> {
        let SignedRegisterRequest { signed: record, lease_token, .. } = request;
        let verified = match self.limits().signatures {
            SignaturePolicy::Open => None,
            SignaturePolicy::SignedPreferred | SignaturePolicy::SignedOnly => {
                Some(self.verify(&record, self.shown(now)).await?)
            }
        };
        // Any duration of the lease is accepted here. `put_request` checks the operator's bounds,
        // as it does for unsigned registrations.
        let any_ttl = Ttl::from_secs(0)..=Ttl::from_secs(u32::MAX);
        let content = record.content(any_ttl).map_err(Error::InvalidRecord)?;
        let signing = verified.map_or(Signing::Ignored, |key| {
            Signing::Signed(Signature {
                key,
                seq: record.seq(),
                replaces: content.replaces,
                record: record.as_str().into(),
            })
        });
        let has_mailbox = verified.is_some() && content.registration.mail;
        let token_only = verified.is_some() || content.registration.token_only;
        let registration = RegisterRequest { token_only, ..content.registration };
        let claim = self.claim(caller, lease_token.as_ref());
        let new_token = TokenHash::of_signed(&content.token_hash);
        let put = self.put_request(registration, claim, new_token, signing, caller)?;
        let (registered, token_kept) = self.store_registration(put, now).await?;
        // The client chose the token, so the response normally has none. If the operator ignores
        // signatures, a token that the client presented may remain valid instead, and the response
        // then repeats it.
        Ok(Registered { lease_token: lease_token.filter(|_| token_kept), has_mailbox, ..registered })
    }

    /// Whether a registration without a signature is accepted, and how the store has to treat it.
    pub(crate) fn unsigned(&self, peer: &PeerId) -> Result<Signing, Error> {
        match self.limits().signatures {
            SignaturePolicy::Open => Ok(Signing::Ignored),
            SignaturePolicy::SignedOnly => Err(Error::SignatureRequired),
            SignaturePolicy::SignedPreferred => match PublicKey::of_name(peer) {
                // A name that is a key belongs to that key, even if no peer has registered it.
                Some(key) => Err(Error::NameLocked(key)),
                None => Ok(Signing::Unsigned),
            },
        }
    }

    /// Checks the audience, the freshness and the signature of a record, and whether its key may
    /// sign for the name. None of this depends on the peers in the store. `now` is the time that
    /// responses contain.
    async fn verify(&self, record: &SignedRecord, now: Timestamp) -> Result<PublicKey, Error> {
        if record.audience().is_some_and(|audience| self.limits().audience.as_deref() != Some(audience)) {
            return Err(Error::OtherAudience);
        }
        let (peer, key) = (record.peer_id(), record.claimed_key());
        let is_recent = match record.freshness() {
            Freshness::IssuedAt(seconds) => is_near(now, *seconds),
            Freshness::Nonce(nonce) => self.nonces.accepts(nonce, self.store(), peer, &key, now).await?,
        };
        // The sequence number must not be far ahead of the time. Otherwise, a thief of the key
        // could use the highest number, and the owner of the key could never replace that record.
        let is_ahead = record.seq() > now.as_millis().saturating_add(MAX_SKEW_MILLIS);
        if !is_recent || is_ahead {
            let nonce = self.nonces.issue(self.store(), peer, &key, now).await?;
            return Err(Error::StaleSignature { timestamp: now, nonce });
        }
        let key = record.verify().map_err(Error::InvalidRecord)?;
        match PublicKey::of_name(peer) {
            Some(owner) if owner != key => Err(Error::NameLocked(owner)),
            _ => Ok(key),
        }
    }
}

/// Whether a time in seconds is at most [`MAX_SKEW_MILLIS`] from `now`.
pub(crate) fn is_near(now: Timestamp, seconds: u64) -> bool {
    let issued_at = seconds.saturating_mul(1_000);
    // `iat` has whole seconds, so `now` is rounded down to whole seconds as well.
    (now.as_secs() * 1_000).abs_diff(issued_at) <= MAX_SKEW_MILLIS
}
