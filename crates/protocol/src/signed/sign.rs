//! Signing registrations.

use serde::Serialize;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::jws::Jws;
use super::{Freshness, RECORD_TYPE, SignedRecord, SignedTokenHash, rotation};
use crate::{Refusal, RegisterRequest, SecretKey};

/// The values that a signed registration contains in addition to the registration.
#[derive(Clone, Debug)]
pub struct RecordTerms<'a> {
    /// The sequence number of the record. It must be higher than those of all earlier records of
    /// the peer. By convention it is the time in milliseconds since the Unix epoch.
    pub seq: u64,
    /// The evidence that the record is recent.
    pub freshness: Freshness,
    /// The hash of the lease token with which the peer will renew its lease and deregister.
    pub token_hash: SignedTokenHash,
    /// The name of the only service that may accept the record. `None` if any service may.
    pub audience: Option<&'a str>,
    /// The old key, if this record replaces the key of the peer by another one.
    pub replaces: Option<&'a SecretKey>,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(flatten)]
    registration: &'a RegisterRequest,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    token_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
}

impl SignedRecord {
    /// Signs a registration. The registration's `lease_token`, `token_only` and `discover` are left
    /// out of the record.
    ///
    /// # Errors
    /// A [`Refusal`] if [`SignedRecord::parse`] refuses the record, for example because `seq` is
    /// too large.
    pub fn sign(
        registration: &RegisterRequest,
        terms: &RecordTerms<'_>,
        key: &SecretKey,
    ) -> Result<Self, Refusal> {
        let public =
            RegisterRequest { lease_token: None, token_only: false, discover: None, ..registration.clone() };
        let (iat, nonce) = match &terms.freshness {
            Freshness::IssuedAt(seconds) => (Some(*seconds), None),
            Freshness::Nonce(nonce) => (None, Some(nonce.as_str())),
        };
        let replaces =
            terms.replaces.map(|old| rotation::sign(&public.peer_id, terms.seq, old, key.public()));
        let payload = Payload {
            seq: terms.seq,
            iat,
            nonce,
            token_hash: URL_SAFE_NO_PAD.encode(terms.token_hash.0),
            aud: terms.audience,
            replaces,
            registration: &public,
        };
        // Serializing text and numbers never fails. If it did, parsing the empty payload would
        // fail.
        let payload = serde_json::to_string(&payload).unwrap_or_default();
        Self::parse(&Jws::sign(&payload, RECORD_TYPE, key))
    }
}
