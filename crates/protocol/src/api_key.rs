//! API keys, by which the service recognizes operators and the clients that they trust.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Invalid;

/// An API key: opaque text of 1 to 256 visible ASCII characters. `Debug` hides its value.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Box<str>);

impl ApiKey {
    /// The maximum length of a key, in characters.
    pub const MAX_LEN: usize = 256;
    /// The number of random bytes in a generated key. That is too many to guess, so it is safe to
    /// store a fast hash of the key.
    pub const RANDOM_BYTES: usize = 32;

    /// Makes a key from random bytes.
    pub fn from_random(bytes: [u8; Self::RANDOM_BYTES]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Parses a key that a caller presents.
    ///
    /// # Errors
    /// [`Invalid`] if the text is empty, too long, or contains characters other than visible ASCII.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=Self::MAX_LEN).contains(&text.len()) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::rule("must be 1 to 256 visible ASCII characters"))
        }
    }

    /// The key as it appears on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}
