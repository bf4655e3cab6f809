//! The keys of signed registrations: Ed25519, written as `did:key`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Invalid, PeerId};

/// The start of the `did:key` of every Ed25519 key: the DID method, `z` for base58, and the
/// characters that the multicodec prefix of Ed25519 encodes to.
const PREFIX: &str = "did:key:z6Mk";
/// The offset of the base58 text: it follows the DID method and the letter `z`, which means base58.
const BASE58_AT: usize = "did:key:z".len();
/// The multicodec of an Ed25519 public key, as a varint.
const MULTICODEC: [u8; 2] = [0xed, 0x01];
/// The length of a signature in bytes.
pub(crate) const SIGNATURE_LEN: usize = 64;

/// An Ed25519 public key. Its text form is a `did:key`. Parsing accepts any 32 bytes. No signature
/// verifies with bytes that are not a valid key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; Self::LEN]);

impl PublicKey {
    /// The length in bytes.
    pub const LEN: usize = 32;

    /// A key from its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the key.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// Parses a `did:key` of an Ed25519 key, in the one form that [`PublicKey`] writes.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::decode(text).ok_or(Invalid::rule("must be the did:key of an Ed25519 key (did:key:z6Mk…)"))
    }

    fn decode(text: &str) -> Option<Self> {
        let encoded = text.strip_prefix(PREFIX).and_then(|_| text.get(BASE58_AT..))?;
        let mut bytes = [0; MULTICODEC.len() + Self::LEN];
        // The whole buffer must be used: a shorter text would leave zeros at its end.
        if bs58::decode(encoded).onto(&mut bytes[..]).ok()? != bytes.len() {
            return None;
        }
        let key = bytes.strip_prefix(&MULTICODEC)?;
        key.try_into().ok().map(Self)
    }

    /// The key that owns the name `peer`, if the name is a `did:key`. Only this key may register
    /// the name, unless the operator ignores signatures.
    pub fn of_name(peer: &PeerId) -> Option<Self> {
        Self::decode(peer.as_str())
    }

    /// Whether `signature` is the signature of `message` by this key. The verification is strict.
    /// It refuses keys and signatures of small order, with which one signature is valid for many
    /// messages.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&MULTICODEC[..], &self.0].concat();
        write!(f, "did:key:z{}", bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl TryFrom<String> for PublicKey {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// An Ed25519 private key. `Debug` hides its value, and dropping it erases its memory.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The number of random bytes that a key is made of.
    pub const RANDOM_BYTES: usize = 32;

    /// Makes a key from random bytes.
    pub fn from_random(bytes: &[u8; Self::RANDOM_BYTES]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(message).to_bytes()
    }

    /// The private key as a JSON Web Key (RFC 8037), which other libraries read.
    pub fn to_jwk(&self) -> String {
        let encode = |bytes: [u8; 32]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, d) = (encode(self.public().0), encode(self.0.to_bytes()));
        format!("{{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"{x}\",\"d\":\"{d}\"}}")
    }

    /// Reads a private JSON Web Key of Ed25519.
    ///
    /// # Errors
    /// [`Invalid`] if the text is not such a key, or if its `x` is not the public key of its `d`.
    pub fn from_jwk(text: &str) -> Result<Self, Invalid> {
        const RULE: Invalid =
            Invalid::rule("must be a private JSON Web Key of Ed25519 (kty OKP, with x and d)");
        let jwk: Jwk = serde_json::from_str(text).map_err(|_| RULE)?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let key = Self::from_random(&decode(&jwk.d).ok_or(RULE)?);
        let is_ours = jwk.kty == "OKP" && jwk.crv == "Ed25519" && decode(&jwk.x) == Some(key.public().0);
        if is_ours { Ok(key) } else { Err(RULE) }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    d: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    // The first test vector of RFC 8032, and its key as RFC 8037 and the did:key specification
    // write it.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const DID: &str = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";

    fn key() -> SecretKey {
        SecretKey::from_random(&URL_SAFE_NO_PAD.decode(SEED).unwrap().try_into().unwrap())
    }

    #[test]
    fn a_key_is_written_as_did_key_and_as_jwk() {
        assert_eq!(key().public().to_string(), DID);
        assert_eq!(PublicKey::parse(DID).unwrap(), key().public());
        let jwk = key().to_jwk();
        assert!(jwk.contains(r#""x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#), "{jwk}");
        assert_eq!(SecretKey::from_jwk(&jwk).unwrap().public(), key().public());
        assert!(SecretKey::from_jwk(&jwk.replace("11qY", "21qY")).is_err(), "x of another key");
    }

    #[test]
    fn only_one_text_stands_for_a_key() {
        let x25519 = "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc";
        let cut = &DID[..DID.len() - 1];
        for other in ["", "did:key:", &DID[8..], cut, &format!("{DID}1"), &DID.to_uppercase(), x25519] {
            assert!(PublicKey::parse(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_key_of_small_order_verifies_nothing() {
        // With the neutral element as the key and as R, and S = 0, a lax verification accepts this
        // signature for any message. A strict one refuses it.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; SIGNATURE_LEN];
        signature[0] = 1;
        assert!(!PublicKey(neutral).verifies(b"any message", &signature));
    }
}
