//! The holder of a registration, and what a caller presents to prove that it is the holder.

use std::fmt;

use aurora_discovery_protocol::{LeaseToken, SignedTokenHash};
use sha2::{Digest, Sha256};

use crate::{OriginHash, Source, WebOrigin};

/// The stored form of a lease token: the first 16 bytes of its SHA-256, so that access to a store
/// does not reveal tokens.
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

    /// Takes the first 16 bytes of the token hash in a signed registration.
    pub fn of_signed(hash: &SignedTokenHash) -> Self {
        let mut half = [0; Self::LEN];
        half.copy_from_slice(&hash.0[..Self::LEN]);
        Self(half)
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
    /// The hash of the current lease token.
    pub token: TokenHash,
    /// The web page that made the registration. `None` if no page made it, or if the page hid its
    /// origin.
    pub page: Option<OriginHash>,
    /// Whether only the token may change, renew or end the registration. Set for every signed
    /// registration.
    pub token_only: bool,
}

/// What a caller presents to prove that it is the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The source of the request.
    pub source: Source,
    /// The web page that sent the request, if one did.
    pub page: WebOrigin,
    /// The hash of the token in the request, if it has one.
    pub token: Option<TokenHash>,
    /// Whether the operator has disabled the holder rule, so that every caller counts as the
    /// holder.
    pub holder_rule_disabled: bool,
}

impl Claim {
    /// Whether this caller has the token of `holder`. A caller that registers again with the
    /// current token keeps it. A caller that is recognized only by its source gets a new token,
    /// because the current one may belong to another client at the same address.
    pub fn has_token_of(&self, holder: &Holder) -> bool {
        // The comparison need not take constant time. It compares hashes, and the duration of a
        // comparison of hashes reveals nothing about the tokens.
        self.token == Some(holder.token)
    }

    /// Whether the request comes from the source of `holder`. If a web page sent it, the same page
    /// must have made the registration. Legacy clients, which know no tokens, prove themselves in
    /// this way. As a consequence, clients behind one address can change each other's
    /// registrations.
    pub fn comes_from(&self, holder: &Holder) -> bool {
        self.source == holder.source && self.page.trusts_address(holder.page)
    }

    /// Whether the request comes from the network of `holder`: the same IPv4 /24 or IPv6 /48. The
    /// addresses of one client vary within its network, for example behind carrier-grade NAT or
    /// with IPv6 privacy addresses. For web pages, the rule of [`Claim::comes_from`] applies.
    pub fn comes_from_near(&self, holder: &Holder) -> bool {
        self.source.is_near(holder.source) && self.page.trusts_address(holder.page)
    }
}
