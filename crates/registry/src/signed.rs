//! Signed registrations: the checks that come before the store.
//!
//! The signature is verified before the store is asked. The rate per source bounds how much work
//! that is, and no store then has to know how to verify.

use aurora_discovery_protocol::{
    Freshness, PeerId, PublicKey, RegisterRequest, SignedRecord, SignedRegisterRequest, Timestamp, Ttl,
};

use crate::{Caller, Error, Registered, Registry, Signature, SignaturePolicy, Signing, TokenHash};

/// How far the time of a record may be from that of the service, in milliseconds.
const MAX_SKEW_MILLIS: u64 = 300_000;

impl Registry {
    /// Registers a peer by a signed registration. The request's own `discover` is ignored.
    ///
    /// # Errors
    /// As [`Registry::register`], and [`Error::OtherAudience`], [`Error::StaleSignature`],
    /// [`Error::InvalidRecord`] and [`Error::StaleRecord`]. After any but the store's failure, nothing
    /// has changed.
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
        // The bounds of the lease are checked with those of other registrations.
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
        let token_only = verified.is_some() || content.registration.token_only;
        let registration = RegisterRequest { token_only, ..content.registration };
        let claim = self.claim(caller, lease_token.as_ref());
        let new_token = TokenHash::of_signed(&content.token_hash);
        let put = self.put_request(registration, claim, new_token, signing, caller)?;
        let (registered, token_kept) = self.store_registration(put, now).await?;
        // Without a signature, a token that remains valid is not the one that the record names.
        Ok(Registered { lease_token: lease_token.filter(|_| token_kept), ..registered })
    }

    /// How a registration without a signature is treated.
    pub(crate) fn unsigned(&self, peer: &PeerId) -> Result<Signing, Error> {
        match self.limits().signatures {
            SignaturePolicy::Open => Ok(Signing::Ignored),
            SignaturePolicy::SignedOnly => Err(Error::SignatureRequired),
            SignaturePolicy::SignedPreferred => match PublicKey::of_name(peer) {
                // The name of a key belongs to the key, whether it is registered or not.
                Some(key) => Err(Error::NameLocked(key)),
                None => Ok(Signing::Unsigned),
            },
        }
    }

    /// Checks all of a record that does not depend on the store's peers. `now` is the time that
    /// responses show.
    async fn verify(&self, record: &SignedRecord, now: Timestamp) -> Result<PublicKey, Error> {
        if record.audience().is_some_and(|audience| self.limits().audience.as_deref() != Some(audience)) {
            return Err(Error::OtherAudience);
        }
        let (peer, key) = (record.peer_id(), record.claimed_key());
        let is_recent = match record.freshness() {
            Freshness::IssuedAt(seconds) => is_near(now, *seconds),
            Freshness::Nonce(nonce) => self.nonces.accepts(nonce, self.store(), peer, &key, now).await?,
        };
        // A number far ahead would leave none above it to the holder of a key that was stolen.
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
    // Seconds are whole, so that the current second counts as now.
    (now.as_secs() * 1_000).abs_diff(issued_at) <= MAX_SKEW_MILLIS
}
