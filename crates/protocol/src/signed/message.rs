//! A message from one peer to another, as a JWS by the sender.
//!
//! A service checks the form and the size of a message, and the peers that the message names. The
//! receiver verifies the signature against the sender's signed registration, so that it detects if
//! a service has changed the message.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::jws::Jws;
use super::safe_integer;
use crate::object::{Object, string};
use crate::request::peer_id;
use crate::{Invalid, PeerId, PublicKey, Refusal, SecretKey};

/// The type of a message.
const MESSAGE_TYPE: &str = "aurora-mail+jws";
const FIELD: &str = "message";
/// The prefix of the payload's keys in a refusal.
const PATH: &str = "message.";
/// The minimum and maximum length of `sid` in characters. 16 characters of base64 hold 96 random
/// bits, which cannot be guessed.
const SID_LEN: std::ops::RangeInclusive<usize> = 16..=64;
/// The maximum length of `type`, in characters.
const MAX_TYPE_LEN: usize = 16;

/// A message that conforms to the API. [`SignedMessage::verify`] checks the signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedMessage {
    jws: Jws,
    from: PeerId,
    to: PeerId,
    sid: Box<str>,
    issued_at: u64,
    kind: Box<str>,
}

/// The content of a message, apart from its sender and its receiver.
#[derive(Clone, Copy, Debug)]
pub struct MessageTerms<'a> {
    /// The id of the session: 16 to 64 visible ASCII characters. The peer that makes the offer
    /// draws it at random, and the answer repeats it.
    pub sid: &'a str,
    /// When it was signed, in seconds since the Unix epoch.
    pub issued_at: u64,
    /// The kind of the message, for example `offer` or `answer`.
    pub kind: &'a str,
    /// The session description (SDP).
    pub sdp: &'a str,
}

#[derive(Serialize)]
struct Payload<'a> {
    from: &'a PeerId,
    to: &'a PeerId,
    sid: &'a str,
    iat: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    sdp: &'a str,
}

/// The description in a payload.
#[derive(Deserialize)]
struct Described {
    sdp: String,
}

impl SignedMessage {
    /// The maximum length of a message in bytes. An offer with a dozen ICE candidates takes half of
    /// it.
    pub const MAX_LEN: usize = 4 * 1024;

    /// Parses a message, without verifying its signature.
    ///
    /// # Errors
    /// A [`Refusal`] with `invalid_field` if the text is too long, if it is not a compact JWS, if
    /// its header or its payload is not a JSON object without duplicate keys, or if a key of the
    /// payload breaks its rule. A [`Refusal`] with `invalid_signature` if a parameter of the header
    /// or the length of the signature is not accepted.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > Self::MAX_LEN {
            return Err(Invalid::rule("must have at most 4096 bytes").in_field(FIELD));
        }
        let jws = Jws::parse(text, MESSAGE_TYPE, FIELD)?;
        let payload = Object::in_text(&jws.payload, PATH)?;
        let kind = payload.required("type", kind)?;
        payload.required("sdp", string)?;
        let from = payload.required("from", peer_id)?;
        let to = payload.required("to", peer_id)?;
        let sid = payload.required("sid", sid)?;
        let issued_at = payload.required("iat", safe_integer)?;
        Ok(Self { from, to, sid, issued_at, kind, jws })
    }

    /// Verifies the signature. Returns the key that signed.
    ///
    /// # Errors
    /// A [`Refusal`] with `invalid_signature`.
    pub fn verify(&self) -> Result<PublicKey, Refusal> {
        self.jws.verify()
    }

    /// Signs a message.
    ///
    /// # Errors
    /// A [`Refusal`] if it would not be accepted, for example because it is too long.
    pub fn sign(
        from: &PeerId,
        to: &PeerId,
        terms: &MessageTerms<'_>,
        key: &SecretKey,
    ) -> Result<Self, Refusal> {
        let MessageTerms { sid, issued_at: iat, kind, sdp } = *terms;
        // Serializing text and numbers never fails. If it did, parsing the empty payload would
        // fail.
        let payload = serde_json::to_string(&Payload { from, to, sid, iat, kind, sdp }).unwrap_or_default();
        Self::parse(&Jws::sign(&payload, MESSAGE_TYPE, key))
    }

    /// The compact JWS.
    pub fn as_str(&self) -> &str {
        &self.jws.text
    }

    /// The key that the message names as its signer. [`SignedMessage::verify`] checks that this key
    /// did sign it.
    pub fn claimed_key(&self) -> PublicKey {
        self.jws.key
    }

    /// The sender.
    pub fn from(&self) -> &PeerId {
        &self.from
    }

    /// The receiver.
    pub fn to(&self) -> &PeerId {
        &self.to
    }

    /// The session that the message is part of.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// When it was signed, in seconds since the Unix epoch.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }

    /// The kind of the message, for example `offer` or `answer`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The session description. It is decoded from the payload on each call. A decoded copy would
    /// take memory in a service, which keeps many messages and never reads it.
    pub fn sdp(&self) -> String {
        // `parse` has checked that the payload has a session description.
        serde_json::from_str(&self.jws.payload).map(|Described { sdp }| sdp).unwrap_or_default()
    }
}

fn sid(value: &RawValue) -> Result<Box<str>, Invalid> {
    let text = string(value)?;
    let is_valid = SID_LEN.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_valid { Ok(text.into()) } else { Err(Invalid::rule("must be 16 to 64 visible ASCII characters")) }
}

fn kind(value: &RawValue) -> Result<Box<str>, Invalid> {
    let text = string(value)?;
    let is_valid =
        (1..=MAX_TYPE_LEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase());
    if is_valid { Ok(text.into()) } else { Err(Invalid::rule("must be 1 to 16 lowercase letters")) }
}

impl Serialize for SignedMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Leaves out the session description, because it contains addresses of the sender, which must not
/// appear in logs.
impl fmt::Debug for SignedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, sid, issued_at, kind, .. } = self;
        f.debug_struct("SignedMessage")
            .field("from", from)
            .field("to", to)
            .field("sid", sid)
            .field("issued_at", issued_at)
            .field("kind", kind)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    const SID: &str = "0123456789abcdef";

    fn key() -> SecretKey {
        SecretKey::from_random(&[1; 32])
    }

    fn sign(sdp: &str) -> Result<SignedMessage, Refusal> {
        let (from, to) = (PeerId::parse("a").unwrap(), PeerId::parse("b").unwrap());
        let terms = MessageTerms { sid: SID, issued_at: 1_800_000_000, kind: "offer", sdp };
        SignedMessage::sign(&from, &to, &terms, &key())
    }

    #[test]
    fn a_message_round_trips_and_only_its_key_verifies_it() {
        let message = sign("v=0\r\n").unwrap();
        let read = SignedMessage::parse(message.as_str()).unwrap();
        assert_eq!(read, message);
        assert_eq!((read.from().as_str(), read.to().as_str(), read.sid()), ("a", "b", SID));
        assert_eq!((read.issued_at(), read.verify()), (1_800_000_000, Ok(key().public())));
        assert_eq!((read.kind(), read.sdp().as_str()), ("offer", "v=0\r\n"));
        let (signed, _) = message.as_str().rsplit_once('.').unwrap();
        let other = sign("v=1\r\n").unwrap();
        let (_, signature) = other.as_str().rsplit_once('.').unwrap();
        let mixed = SignedMessage::parse(&format!("{signed}.{signature}")).unwrap();
        assert_eq!(mixed.verify().unwrap_err().code, Code::InvalidSignature);
    }

    #[test]
    fn a_message_has_at_most_4_kib() {
        let room = (SignedMessage::MAX_LEN - sign("").unwrap().as_str().len()) * 3 / 4;
        let longest = sign(&"x".repeat(room)).unwrap();
        assert!((SignedMessage::MAX_LEN - 2..=SignedMessage::MAX_LEN).contains(&longest.as_str().len()));
        let refusal = sign(&"x".repeat(room + 3)).unwrap_err();
        assert_eq!((refusal.code, refusal.field.as_deref()), (Code::InvalidField, Some("message")));
    }

    #[test]
    fn each_key_of_the_payload_has_its_rule() {
        let good = r#"{"from":"a","to":"b","sid":"0123456789abcdef","iat":1,"type":"offer","sdp":"v=0"}"#;
        let read = |payload: &str| SignedMessage::parse(&Jws::sign(payload, MESSAGE_TYPE, &key())).map(drop);
        assert_eq!(read(good), Ok(()));
        assert_eq!(read(&good.replace('}', r#","more":1}"#)), Ok(()), "later versions may say more");
        for (before, after, field) in [
            (r#""from":"a","#, "", "message.from"),
            (r#""to":"b""#, r#""to":"b b""#, "message.to"),
            ("0123456789abcdef", "0123456789abcde", "message.sid"),
            ("0123456789abcdef", "0123456789abcde ", "message.sid"),
            (r#""iat":1,"#, "", "message.iat"),
            (r#""iat":1"#, r#""iat":1.5"#, "message.iat"),
            ("offer", "Offer", "message.type"),
            ("offer", "", "message.type"),
            (r#""v=0""#, "7", "message.sdp"),
            ("}", r#","to":"c"}"#, "message"),
        ] {
            let refusal = read(&good.replacen(before, after, 1)).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field), "{after}: {refusal}");
        }
        let record = Jws::sign(good, "aurora-peer+jws", &key());
        assert_eq!(SignedMessage::parse(&record).unwrap_err().code, Code::InvalidSignature);
    }
}
