//! The holder rule: only the holder of a live lease may change the registration.

use std::fmt;

use aurora_discovery_protocol::LeaseToken;
use sha2::{Digest, Sha256};

use crate::Source;

/// The stored form of a lease token: half of its SHA-256, so that access to a store does not reveal
/// tokens.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; Self::LEN]);

impl TokenHash {
    /// The length in bytes.
    pub const LEN: usize = 16;

    /// Hashes a token.
    pub fn of(token: &LeaseToken) -> Self {
        let mut hash = [0; Self::LEN];
        hash.copy_from_slice(&Sha256::digest(token.as_str().as_bytes())[..Self::LEN]);
        Self(hash)
    }

    /// The hash as bytes for a store.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Reads a hash from a store.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

/// The holder of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The source of the registration.
    pub source: Source,
    /// The hash of the lease token that the response contained.
    pub token: TokenHash,
}

/// What a caller presents to prove that it is the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The source of the request.
    pub source: Source,
    /// The hash of the token in the request, if it has one.
    pub token: Option<TokenHash>,
    /// Whether the operator has disabled the holder rule, so that every caller counts as the
    /// holder.
    pub holder_rule_disabled: bool,
}

impl Claim {
    /// Whether this caller counts as `holder`, so that it may change the live registration.
    pub fn matches(&self, holder: &Holder) -> bool {
        // Either proof is enough. The source alone admits legacy clients, which do not know tokens.
        // The token alone admits a client whose address has changed. A client on another network
        // that only knows the id has neither. Clients behind one address can change each other's
        // registrations.
        self.holder_rule_disabled || self.source == holder.source || self.has_token_of(holder)
    }

    /// Whether this caller has the token of `holder`. If so, it keeps the token. A caller that is
    /// recognized only by its source gets a new token, because the old one may belong to another
    /// client at the same address.
    pub fn has_token_of(&self, holder: &Holder) -> bool {
        // The comparison need not take constant time. Its inputs are hashes of random secrets, so
        // that its duration reveals nothing about a secret.
        self.token == Some(holder.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_recognized_by_source_or_token() {
        let token = |byte| TokenHash::of(&LeaseToken::from_random([byte; 16]));
        let source = |text: &str| Source::of(text.parse().unwrap());
        let holder = Holder { source: source("203.0.113.7"), token: token(1) };
        let claim = |from: &str, token| Claim { source: source(from), token, holder_rule_disabled: false };
        assert!(claim("203.0.113.7", None).matches(&holder));
        assert!(claim("203.0.113.7", Some(token(2))).matches(&holder));
        assert!(claim("198.51.100.1", Some(token(1))).matches(&holder));
        assert!(!claim("198.51.100.1", Some(token(2))).matches(&holder));
        assert!(!claim("198.51.100.1", None).matches(&holder));
        assert!(Claim { holder_rule_disabled: true, ..claim("198.51.100.1", None) }.matches(&holder));
    }
}
