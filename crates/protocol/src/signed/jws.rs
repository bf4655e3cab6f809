//! Compact JWS (RFC 7515), restricted to the algorithm and the header parameters that this crate
//! uses: for signed registrations, for messages and for key rotation.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use crate::key::SIGNATURE_LEN;
use crate::object::{Object, string};
use crate::{Code, Invalid, PublicKey, Refusal, SecretKey};

/// A JWS that has been parsed. Its signature has not been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jws {
    /// The whole text.
    pub(super) text: Box<str>,
    /// The length of the signed part: the header, a dot and the payload.
    signed_len: usize,
    /// The key that the header names.
    pub(super) key: PublicKey,
    /// The payload, decoded.
    pub(super) payload: String,
    signature: [u8; SIGNATURE_LEN],
    field: &'static str,
}

impl Jws {
    /// Parses the value of `field` as a JWS of the type `typ`.
    pub(super) fn parse(text: &str, typ: &str, field: &'static str) -> Result<Self, Refusal> {
        let malformed = || {
            Invalid::rule("must be a compact JWS: three parts in base64url, joined by dots").in_field(field)
        };
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let signed_len = header.len() + 1 + payload.len();
        // Padding and unused bits that are not zero are refused, so that each JWS has exactly one
        // text form.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let decode_text = |part: &str| String::from_utf8(decode(part)?).map_err(|_| malformed());
        let (header, payload) = (decode_text(header)?, decode_text(payload)?);
        let signature: [u8; SIGNATURE_LEN] = decode(signature)?
            .try_into()
            .map_err(|_| invalid_signature(field, "must have a signature of 64 bytes"))?;
        let key = key_of(&header, typ, field)?;
        Ok(Self { text: text.into(), signed_len, key, payload, signature, field })
    }

    /// Checks the signature.
    pub(super) fn verify(&self) -> Result<PublicKey, Refusal> {
        if self.key.verifies(&self.text.as_bytes()[..self.signed_len], &self.signature) {
            return Ok(self.key);
        }
        Err(invalid_signature(self.field, "has a signature that is not by the key that its kid names"))
    }

    /// Signs a payload.
    pub(super) fn sign(payload: &str, typ: &str, key: &SecretKey) -> String {
        let header = format!("{{\"alg\":\"Ed25519\",\"typ\":\"{typ}\",\"kid\":\"{}\"}}", key.public());
        let mut text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = key.sign(text.as_bytes());
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(signature));
        text
    }
}

/// A refusal with the code `invalid_signature`.
pub(super) fn invalid_signature(field: &'static str, rule: &str) -> Refusal {
    Refusal {
        code: Code::InvalidSignature,
        message: format!("{field} {rule}").into(),
        field: Some(Cow::Borrowed(field)),
    }
}

/// Checks a header and returns the key that it names. Parameters that do not affect the
/// verification, such as `jku`, are ignored.
fn key_of(header: &str, typ: &str, field: &'static str) -> Result<PublicKey, Refusal> {
    let header = Object::in_text(header, field)?;
    if header.has("crit") {
        return Err(invalid_signature(field, "must have no crit in its header: no extension is supported"));
    }
    let is = |name: &str, values: &[&str]| text_of(&header, name).is_some_and(|v| values.contains(&&*v));
    // RFC 9864 replaced the name EdDSA by Ed25519. Older libraries still write EdDSA.
    if !is("alg", &["Ed25519", "EdDSA"]) {
        return Err(invalid_signature(field, "must have the alg Ed25519 in its header"));
    }
    if !is("typ", &[typ]) {
        return Err(invalid_signature(field, &format!("must have the typ {typ} in its header")));
    }
    let kid = text_of(&header, "kid").and_then(|kid| PublicKey::parse(&kid).ok());
    kid.ok_or_else(|| {
        invalid_signature(
            field,
            "must have a kid in its header, the did:key of an Ed25519 key (did:key:z6Mk…)",
        )
    })
}

fn text_of<'a>(header: &Object<'a>, name: &str) -> Option<Cow<'a, str>> {
    header.raw(name).and_then(|value: &RawValue| string(value).ok())
}
