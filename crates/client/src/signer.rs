//! Signs registrations.

use std::time::{SystemTime, UNIX_EPOCH};

use aurora_discovery_protocol::{
    Code, ErrorBody, Freshness, LeaseToken, PublicKey, RecordTerms, RegisterRequest, RegisterResponse,
    SecretKey, SignedRecord, SignedRegisterRequest, SignedTokenHash,
};
use sha2::{Digest as _, Sha256};

use crate::{Client, Error};

/// The maximum number of times that one registration is signed: once, again if the local clock is
/// wrong, and again if the service knows a later record.
const MAX_SIGNED: u32 = 3;

/// Signs the registrations of one peer with its key. If the local clock is wrong, it uses the time
/// of the service.
#[derive(Debug)]
pub struct Signer {
    key: SecretKey,
    /// The old key of a peer that changes its key. `None` once the service has accepted a
    /// registration with the new key.
    replaces: Option<SecretKey>,
    audience: Option<String>,
    /// The token with which the peer renews and deregisters. Only its hash is in the record.
    token: LeaseToken,
    /// How far the service's clock is ahead of the local one, in milliseconds.
    clock_offset: i64,
    last_seq: u64,
}

impl Signer {
    /// A signer with a new lease token.
    ///
    /// # Errors
    /// [`Error::Options`] if the operating system returns no random bytes.
    pub fn new(key: SecretKey) -> Result<Self, Error> {
        let mut random = [0; LeaseToken::RANDOM_BYTES];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Options(format!("no lease token can be made: {error}")))?;
        let token = LeaseToken::from_random(random);
        Ok(Self { key, replaces: None, audience: None, token, clock_offset: 0, last_seq: 0 })
    }

    /// Uses a token that the peer already has, instead of a new one.
    #[must_use]
    pub fn with_token(self, token: LeaseToken) -> Self {
        Self { token, ..self }
    }

    /// Replaces `old`, the key that signed the peer's registrations so far.
    #[must_use]
    pub fn replacing(self, old: SecretKey) -> Self {
        Self { replaces: Some(old), ..self }
    }

    /// Signs for one service only, the one with this name.
    #[must_use]
    pub fn for_audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        self.key.public()
    }

    /// The token with which the peer renews and deregisters.
    pub fn token(&self) -> &LeaseToken {
        &self.token
    }

    /// Signs `registration` and sends it. Signs and sends it again if the service says that the
    /// clock is wrong or that it knows a later record.
    ///
    /// The lease token in `registration` matters when the registration of a live peer is signed for
    /// the first time: it proves that this client already holds the name.
    ///
    /// # Errors
    /// See [`Error`]. The code is `name_locked` if another key has locked the name.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request. Signing
    /// and sending it again is safe.
    pub async fn register(
        &mut self,
        client: &Client,
        registration: &RegisterRequest,
    ) -> Result<RegisterResponse, Error> {
        let mut nonce = None;
        let mut signed = 0;
        loop {
            let request = self.sign(registration, nonce.take())?;
            signed += 1;
            let error = match client.register_signed(&request).await {
                Ok(response) => {
                    self.replaces = None;
                    return Ok(response);
                }
                Err(error) => error,
            };
            match &error {
                Error::Refused { body, .. } if signed < MAX_SIGNED && self.learns_from(body) => {
                    nonce.clone_from(&body.nonce);
                }
                _ => return Err(error),
            }
        }
    }

    /// Adopts the sequence number or the time of the service from a refusal. Returns whether
    /// signing again may help.
    fn learns_from(&mut self, body: &ErrorBody) -> bool {
        match (body.code, body.seq, body.timestamp) {
            (Code::StaleRecord, Some(seq), _) => {
                self.last_seq = self.last_seq.max(seq);
                true
            }
            (Code::StaleSignature, _, Some(timestamp)) => {
                self.clock_offset = difference(timestamp.as_millis(), local_millis());
                // Sequence numbers are taken from the clock. If the clock was ahead, the last
                // number is higher than the service's time. It is lowered to that time.
                self.last_seq = self.last_seq.min(timestamp.as_millis());
                true
            }
            _ => false,
        }
    }

    fn sign(
        &mut self,
        registration: &RegisterRequest,
        nonce: Option<String>,
    ) -> Result<SignedRegisterRequest, Error> {
        // Each record of a peer needs a higher sequence number than the one before. The time in
        // milliseconds grows, also across restarts. The last number plus one covers two records in
        // one millisecond, and a clock that was set back.
        let now = local_millis().saturating_add_signed(self.clock_offset);
        self.last_seq = now.max(self.last_seq.saturating_add(1));
        let terms = RecordTerms {
            seq: self.last_seq,
            freshness: nonce.map_or(Freshness::IssuedAt(now / 1_000), Freshness::Nonce),
            token_hash: SignedTokenHash(Sha256::digest(self.token.as_str().as_bytes()).into()),
            audience: self.audience.as_deref(),
            replaces: self.replaces.as_ref(),
        };
        Ok(SignedRegisterRequest {
            signed: SignedRecord::sign(registration, &terms, &self.key)?,
            lease_token: registration.lease_token.clone(),
            discover: registration.discover.clone(),
        })
    }
}

/// The local time, in milliseconds since 1970.
fn local_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// `a - b`, clamped to the range of `i64`.
fn difference(a: u64, b: u64) -> i64 {
    let difference = i128::from(a) - i128::from(b);
    i64::try_from(difference).unwrap_or(if a > b { i64::MAX } else { i64::MIN })
}
