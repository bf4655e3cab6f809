//! Signed registrations. A signed registration, or *record*, is a JWS whose payload is the
//! registration. The service stores and lists it unchanged, so that a reader can verify it without
//! trusting the service.

mod body;
mod jws;
mod message;
mod rotation;
mod sign;

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::{Object, boolean, string};
use crate::request::{peer_id, registration};
use crate::{Invalid, PeerId, PublicKey, Refusal, RegisterRequest, Ttl};
use jws::Jws;

pub use body::{RegisterBody, SignedRegisterRequest};
pub use message::{MessageTerms, SignedMessage};
pub use sign::RecordTerms;

/// The `typ` in the header of a signed registration.
const RECORD_TYPE: &str = "aurora-peer+jws";
/// The JSON key under which a request body contains a signed registration.
const FIELD: &str = "signed";
/// The prefix of the payload's keys in a refusal.
const PATH: &str = "signed.";
/// The largest integer that every JSON parser reads exactly: 2^53 − 1.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// A signed registration that has been parsed. [`SignedRecord::verify`] checks the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRecord {
    jws: Jws,
    claims: Claims,
}

/// The part of the payload that the registry checks first. It verifies the signature only after
/// that, because the verification is expensive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Claims {
    peer_id: PeerId,
    seq: u64,
    freshness: Freshness,
    audience: Option<String>,
}

/// The evidence that a signed registration was made recently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// When it was signed, in seconds since the Unix epoch (`iat`).
    IssuedAt(u64),
    /// A nonce that the service gave to a client whose clock is wrong.
    Nonce(String),
}

/// The SHA-256 of the lease token that the client chose. Records are public, so a record contains
/// the hash and not the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedTokenHash(pub [u8; 32]);

/// The content of a signed registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordContent {
    /// The registration. It has no token and no request for peers.
    pub registration: RegisterRequest,
    /// The hash of the token with which the peer renews and deregisters.
    pub token_hash: SignedTokenHash,
    /// The key that this record's key replaces. That key has signed the replacement, and its
    /// signature has been verified.
    pub replaces: Option<PublicKey>,
}

/// The part of a payload that says whether the peer wants a mailbox.
#[derive(Deserialize)]
struct MailFlag {
    #[serde(default)]
    mail: bool,
}

impl SignedRecord {
    /// Parses a record without verifying its signature. Of the payload, it reads only the keys that
    /// the registry checks before it verifies the signature. [`SignedRecord::content`] reads the
    /// others.
    ///
    /// # Errors
    /// A [`Refusal`] with `invalid_field` if the text is not a compact JWS, if the header or the
    /// payload is not a JSON object without duplicate keys, or if a key of the payload breaks its
    /// rule. A [`Refusal`] with `invalid_signature` if a parameter of the header or the length of
    /// the signature is not accepted.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let jws = Jws::parse(text, RECORD_TYPE, FIELD)?;
        let claims = Claims::read(&jws.payload)?;
        Ok(Self { jws, claims })
    }

    /// Verifies the signature. Returns the key that signed.
    ///
    /// # Errors
    /// A [`Refusal`] with `invalid_signature`.
    pub fn verify(&self) -> Result<PublicKey, Refusal> {
        self.jws.verify()
    }

    /// Reads the rest of the payload by the rules of a registration. `ttl` is the range of leases
    /// that the service grants.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks. It has the code `invalid_signature`
    /// if the old key has not signed that this record's key replaces it.
    pub fn content(&self, ttl: RangeInclusive<Ttl>) -> Result<RecordContent, Refusal> {
        let payload = Object::in_text(&self.jws.payload, PATH)?;
        if payload.has("lease_token") {
            let rule =
                Invalid::rule("must not be signed, because records are public; sign its hash as token_hash");
            return Err(payload.refuse("lease_token", rule));
        }
        let replaces = payload.optional("replaces", |value| string(value).map(String::from))?;
        let mail = payload.optional("mail", boolean)?.unwrap_or(false);
        Ok(RecordContent {
            registration: RegisterRequest { mail, ..registration(&payload, ttl)? },
            token_hash: payload.required("token_hash", token_hash)?,
            replaces: replaces.map(|jws| rotation::old_key(&jws, self)).transpose()?,
        })
    }

    /// Whether `text`, a record that was accepted before, requests a mailbox.
    pub fn has_mailbox(text: &str) -> bool {
        let payload = || URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok();
        payload()
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .is_some_and(|MailFlag { mail }| mail)
    }

    /// The compact JWS, as the peer signed it.
    pub fn as_str(&self) -> &str {
        &self.jws.text
    }

    /// The key that the record names as its signer. [`SignedRecord::verify`] checks that this key
    /// did sign it.
    pub fn claimed_key(&self) -> PublicKey {
        self.jws.key
    }

    /// The peer's id.
    pub fn peer_id(&self) -> &PeerId {
        &self.claims.peer_id
    }

    /// The sequence number of the record. A later record of the same peer has a higher number.
    pub fn seq(&self) -> u64 {
        self.claims.seq
    }

    /// The evidence that the record was made recently.
    pub fn freshness(&self) -> &Freshness {
        &self.claims.freshness
    }

    /// The name of the service that the record is for, if it names one.
    pub fn audience(&self) -> Option<&str> {
        self.claims.audience.as_deref()
    }
}

impl Claims {
    fn read(payload: &str) -> Result<Self, Refusal> {
        let payload = Object::in_text(payload, PATH)?;
        let issued_at = payload.optional("iat", safe_integer)?;
        let nonce = payload.optional("nonce", |value| string(value).map(String::from))?;
        let freshness = match (issued_at, nonce) {
            (Some(seconds), None) => Freshness::IssuedAt(seconds),
            (None, Some(nonce)) => Freshness::Nonce(nonce),
            (None, None) => return Err(payload.refuse("iat", Invalid::rule("is required, or else a nonce"))),
            (Some(_), Some(_)) => {
                return Err(payload.refuse("nonce", Invalid::rule("must not be sent together with iat")));
            }
        };
        Ok(Self {
            peer_id: payload.required("peer_id", peer_id)?,
            seq: payload.required("seq", safe_integer)?,
            audience: payload.optional("aud", |value| string(value).map(String::from))?,
            freshness,
        })
    }
}

/// An integer from 0 to 2^53 − 1, which every JSON parser reads exactly. It must be written as
/// plain digits.
fn safe_integer(value: &RawValue) -> Result<u64, Invalid> {
    let parsed = value.get().parse().ok().filter(|integer| *integer <= MAX_INTEGER);
    parsed.ok_or(Invalid::rule("must be an integer from 0 to 9007199254740991"))
}

fn token_hash(value: &RawValue) -> Result<SignedTokenHash, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(&*string(value)?).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(SignedTokenHash).ok_or(Invalid::rule("must be a SHA-256 in base64url, 43 characters"))
}

#[cfg(test)]
mod tests;
