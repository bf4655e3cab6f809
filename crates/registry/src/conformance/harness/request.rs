//! Registrations and claims that the cases send to a store.

use std::net::IpAddr;

use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, Metadata, PeerId, PublicKey, Registration, Ttl,
};

use super::HOLDER_SOURCE;
use crate::{Claim, PutRequest, Signature, Signing, Source, TokenHash, WebOrigin};

pub(in crate::conformance) fn id(text: &str) -> PeerId {
    PeerId::parse(text).expect("a valid peer id")
}

pub(in crate::conformance) fn archetype(text: &str) -> Archetype {
    Archetype::parse(text).expect("a valid archetype")
}

pub(in crate::conformance) fn token(byte: u8) -> TokenHash {
    TokenHash::from_bytes([byte; TokenHash::LEN])
}

/// The registration of a peer that registers from [`HOLDER_SOURCE`], publishes that address, and
/// has a lease of [`TTL`](super::TTL).
pub(in crate::conformance) fn peer(name: &str) -> PutRequest {
    let registration = Registration {
        peer_id: id(name),
        address: Address::from(ip(HOLDER_SOURCE)),
        port: 9_000,
        archetypes: Archetypes::default(),
        metadata: Metadata::default(),
    };
    PutRequest {
        registration,
        ttl: Ttl::from_secs(300),
        claim: claim_from(HOLDER_SOURCE),
        token_only: false,
        new_token: token(0),
        signing: Signing::Unsigned,
    }
}

/// The claim of a caller from `source` without a token.
pub(in crate::conformance) fn claim_from(source: &str) -> Claim {
    Claim { source: Source::of(ip(source)), page: WebOrigin::None, token: None, holder_rule_disabled: false }
}

/// The claim of a caller from `source` with a token.
pub(in crate::conformance) fn claim_with(token: TokenHash, source: &str) -> Claim {
    Claim { token: Some(token), ..claim_from(source) }
}

/// The same claim, from a page whose `Origin` header is `origin`.
pub(in crate::conformance) fn on_page(origin: &str, claim: Claim) -> Claim {
    Claim { page: WebOrigin::of_header(origin.as_bytes()), ..claim }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

/// The public key whose bytes all have this value.
pub(in crate::conformance) fn key_of(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; PublicKey::LEN])
}

/// Methods that change one property of a [`PutRequest`] made by [`peer`].
pub(in crate::conformance) trait PutRequestBuilder: Sized {
    fn with_source(self, source: &str) -> Self;
    fn with_token(self, token: TokenHash) -> Self;
    fn with_new_token(self, token: TokenHash) -> Self;
    fn with_token_only(self) -> Self;
    fn signed_by(self, key: u8, seq: u64) -> Self;
    fn with_page(self, origin: &str) -> Self;
    fn with_ttl(self, seconds: u32) -> Self;
    fn with_address(self, address: &str, port: u16) -> Self;
    fn with_archetypes<T: AsRef<str>>(self, archetypes: &[T]) -> Self;
    fn with_metadata(self, metadata: &str) -> Self;
}

impl PutRequestBuilder for PutRequest {
    /// The peer registers from `source` and publishes this address.
    fn with_source(mut self, source: &str) -> Self {
        self.claim.source = Source::of(ip(source));
        self.registration.address = Address::from(ip(source));
        self
    }

    fn with_token(mut self, token: TokenHash) -> Self {
        self.claim.token = Some(token);
        self
    }

    fn with_new_token(self, token: TokenHash) -> Self {
        Self { new_token: token, ..self }
    }

    fn with_token_only(self) -> Self {
        Self { token_only: true, ..self }
    }

    /// The registration is signed by the key `key_of(key)`, and its token is `token(key)`.
    fn signed_by(self, key: u8, seq: u64) -> Self {
        let signature = Signature {
            key: key_of(key),
            seq,
            replaces: None,
            record: format!("header.{}-{key}-{seq}.signature", self.registration.peer_id).into(),
        };
        Self { token_only: true, new_token: token(key), signing: Signing::Signed(signature), ..self }
    }

    /// The request comes from a page whose `Origin` header is `origin`.
    fn with_page(mut self, origin: &str) -> Self {
        self.claim = on_page(origin, self.claim);
        self
    }

    fn with_ttl(self, seconds: u32) -> Self {
        Self { ttl: Ttl::from_secs(seconds), ..self }
    }

    fn with_address(mut self, address: &str, port: u16) -> Self {
        self.registration.address = Address::parse(address).expect("an address").expect("not blank");
        self.registration.port = port;
        self
    }

    fn with_archetypes<T: AsRef<str>>(mut self, archetypes: &[T]) -> Self {
        self.registration.archetypes = Archetypes::parse(archetypes).expect("valid archetypes");
        self
    }

    fn with_metadata(mut self, metadata: &str) -> Self {
        self.registration.metadata = Metadata::parse(metadata).expect("valid metadata");
        self
    }
}
