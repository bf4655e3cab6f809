//! The lease token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// A lease token: opaque text of 1 to 128 visible ASCII characters. A client that presents it is
/// recognized as the holder of the lease from any address. `Debug` hides its value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LeaseToken(Box<str>);

impl LeaseToken {
    /// The maximum length of a token, in characters.
    pub const MAX_LEN: usize = 128;
    /// The number of random bytes in a token that the service creates, enough to make a token
    /// impossible to guess.
    pub const RANDOM_BYTES: usize = 16;

    /// Creates a token from random bytes.
    pub fn from_random(bytes: [u8; Self::RANDOM_BYTES]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Parses a token that a caller presents.
    ///
    /// # Errors
    /// [`Invalid`] if the text is empty, too long, or contains characters other than visible ASCII.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=Self::MAX_LEN).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::rule("must be a lease_token that a registration returned"))
        }
    }

    /// The token as it appears on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseToken(hidden)")
    }
}

impl TryFrom<String> for LeaseToken {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<LeaseToken> for String {
    fn from(token: LeaseToken) -> Self {
        token.0.into()
    }
}
