//! Who may change a registration.

use std::fmt;

use aurora_protocol::LeaseToken;
use sha2::{Digest, Sha256};

use crate::Source;

/// What is kept of a lease token: half of its SHA-256, so that reading a store does not give tokens away.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; Self::LEN]);

impl TokenHash {
    /// Its length in bytes.
    pub const LEN: usize = 16;

    /// The hash of a token.
    pub fn of(token: &LeaseToken) -> Self {
        let mut kept = [0; Self::LEN];
        kept.copy_from_slice(&Sha256::digest(token.as_str().as_bytes())[..Self::LEN]);
        Self(kept)
    }

    /// The hash, as stores keep it.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// A hash that a store kept.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

/// Who holds a registration: where it came from, and the token it was answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Where the registration came from.
    pub source: Source,
    /// The hash of its token.
    pub token: TokenHash,
}

/// What a caller shows for being the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where the request came from.
    pub source: Source,
    /// The hash of the token that it carries, if it does.
    pub token: Option<TokenHash>,
    /// Whether the holder rule is switched off by the operator, so that anyone counts as the holder.
    pub unguarded: bool,
}

impl Claim {
    /// Whether this caller may change a live registration of `holder`.
    pub fn admits(&self, holder: &Holder) -> bool {
        self.unguarded || self.source == holder.source || self.proves(holder)
    }

    /// Whether this caller has the token of `holder`, and so goes on with it; who is known by the address alone gets a new
    /// one, since the old one may be a neighbour's.
    pub fn proves(&self, holder: &Holder) -> bool {
        // A hash of a random secret is compared: how long that takes says nothing about the secret.
        self.token == Some(holder.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_known_by_address_or_token() {
        let token = |byte| TokenHash::of(&LeaseToken::from_random([byte; 16]));
        let source = |text: &str| Source::of(text.parse().unwrap());
        let holder = Holder { source: source("203.0.113.7"), token: token(1) };
        let claim = |from: &str, token| Claim { source: source(from), token, unguarded: false };
        assert!(claim("203.0.113.7", None).admits(&holder));
        assert!(claim("203.0.113.7", Some(token(2))).admits(&holder));
        assert!(claim("198.51.100.1", Some(token(1))).admits(&holder));
        assert!(!claim("198.51.100.1", Some(token(2))).admits(&holder));
        assert!(!claim("198.51.100.1", None).admits(&holder));
        assert!(Claim { unguarded: true, ..claim("198.51.100.1", None) }.admits(&holder));
    }
}
