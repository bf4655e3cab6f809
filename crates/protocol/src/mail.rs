//! Mail: short messages that peers leave for each other, with which browsers and peers behind NAT
//! arrange a connection.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::{Object, integer, string, strings};
use crate::request::{lease_token, peer_id};
use crate::{Invalid, LeaseToken, PeerId, Refusal, SignedMessage};

/// The id of a message in a mailbox: 16 hexadecimal digits on the wire. A service draws it at
/// random from 2^64 numbers, so that two messages practically never have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MailId(u64);

impl MailId {
    /// The length of an id on the wire, in characters.
    const LEN: usize = 16;

    /// The id of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Parses an id.
    ///
    /// # Errors
    /// [`Invalid`] if the text is not 16 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_hexadecimal = text.len() == Self::LEN && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hexadecimal.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(Invalid::rule("must be the id of a message, 16 hexadecimal digits"))
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl TryFrom<String> for MailId {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<MailId> for String {
    fn from(id: MailId) -> Self {
        id.to_string()
    }
}

/// The body of `/mail`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MailRequest {
    /// The receiver.
    pub to: PeerId,
    /// The lease token of the peer that the message names as its sender.
    pub lease_token: LeaseToken,
    /// The message.
    pub message: SignedMessage,
}

/// The response to `/mail`: the message is in the receiver's mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailResponse {
    /// The time after which the message is deleted if it is not acknowledged, in seconds.
    pub expires_in_seconds: u64,
}

/// The body of `/mailbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MailboxRequest {
    /// The peer whose mailbox it is.
    pub peer_id: PeerId,
    /// The lease token, which proves that the caller is the holder.
    pub lease_token: LeaseToken,
    /// The ids of the messages that the peer has received. The service deletes these messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acknowledge: Vec<MailId>,
    /// How long to wait for a message if there is none, in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub wait_seconds: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The response to `/mailbox`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxResponse {
    /// The messages that wait, in the order in which they were sent.
    pub mail: Vec<Mail>,
    /// The time after which the service expects the next such request, in seconds.
    pub next_poll_seconds: u32,
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The id with which the receiver acknowledges it.
    pub id: MailId,
    /// The sender. The service has checked its lease token.
    pub from: PeerId,
    /// The message, a compact JWS by the sender, which the receiver verifies.
    pub message: String,
    /// The time since it was sent, in whole seconds.
    pub sent_seconds_ago: u64,
}

/// A STUN or TURN server, in the form that `RTCPeerConnection` of a browser takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its URLs.
    pub urls: Vec<String>,
    /// The user name for TURN, which contains the time at which the credential expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password for TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl MailRequest {
    /// Reads a body. The signature of the message is not verified.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks.
    pub fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        let object = Object::from_body(body)?;
        let to = object.required("to", peer_id)?;
        let lease_token = required_token(&object)?;
        let text = object.required("message", string)?;
        let message = SignedMessage::parse(&text)?;
        if *message.to() != to {
            return Err(Invalid::rule("must name the same peer as to").in_field("message.to"));
        }
        Ok(Self { to, lease_token, message })
    }
}

impl MailboxRequest {
    /// The maximum of `wait_seconds`. It is shorter than the time after which proxies close a
    /// connection without data, so that a waiting request gets its response before that.
    pub const MAX_WAIT_SECONDS: u32 = 25;

    /// Reads a body.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks.
    pub fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        let object = Object::from_body(body)?;
        let wait = |value: &RawValue| integer(value, 0, Self::MAX_WAIT_SECONDS);
        Ok(Self {
            peer_id: object.required("peer_id", peer_id)?,
            lease_token: required_token(&object)?,
            acknowledge: acknowledged(&object)?,
            wait_seconds: object.optional("wait_seconds", wait)?.unwrap_or(0),
        })
    }
}

/// The maximum number of messages that one request acknowledges: several times the capacity of a
/// mailbox.
const MAX_ACKNOWLEDGED: usize = 64;

/// The ids of the messages that a request acknowledges.
pub(crate) fn acknowledged(object: &Object<'_>) -> Result<Vec<MailId>, Refusal> {
    let ids = |value: &RawValue| {
        let texts = strings(value)?;
        if texts.len() > MAX_ACKNOWLEDGED {
            return Err(Invalid::rule("must have at most 64 ids of messages"));
        }
        let ids: Result<_, _> = texts.iter().map(|text| MailId::parse(text)).collect();
        ids.map_err(|_| Invalid::rule("must have the ids of messages, 16 hexadecimal digits each"))
    };
    Ok(object.optional("acknowledge", ids)?.unwrap_or_default())
}

fn required_token(object: &Object<'_>) -> Result<LeaseToken, Refusal> {
    lease_token(object)?.ok_or_else(|| object.refuse("lease_token", Invalid::rule("is required")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, MessageTerms, SecretKey};

    fn message(to: &str) -> SignedMessage {
        let peer = |text| PeerId::parse(text).unwrap();
        let terms =
            MessageTerms { sid: "0123456789abcdef", issued_at: 1_800_000_000, kind: "offer", sdp: "v=0" };
        SignedMessage::sign(&peer("a"), &peer(to), &terms, &SecretKey::from_random(&[1; 32])).unwrap()
    }

    #[test]
    fn an_id_is_sixteen_hexadecimal_digits() {
        for number in [0, 1, u64::MAX] {
            assert_eq!(MailId::parse(&MailId::new(number).to_string()), Ok(MailId::new(number)));
        }
        for bad in ["", "1", "+123456789abcdef", "0123456789abcdeg", "0123456789abcdef0"] {
            assert!(MailId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_round_trip() {
        let (peer_id, lease_token) = (PeerId::parse("b").unwrap(), LeaseToken::parse("t").unwrap());
        let send =
            MailRequest { to: peer_id.clone(), lease_token: lease_token.clone(), message: message("b") };
        assert_eq!(MailRequest::from_body(&serde_json::to_vec(&send).unwrap()), Ok(send));
        for (acknowledge, wait_seconds) in [(Vec::new(), 0), (vec![MailId::new(7), MailId::new(8)], 25)] {
            let (peer_id, lease_token) = (peer_id.clone(), lease_token.clone());
            let fetch = MailboxRequest { peer_id, lease_token, acknowledge, wait_seconds };
            assert_eq!(MailboxRequest::from_body(&serde_json::to_vec(&fetch).unwrap()), Ok(fetch));
        }
    }

    #[test]
    fn each_key_has_its_rule() {
        let good = serde_json::to_string(&MailRequest {
            to: PeerId::parse("b").unwrap(),
            lease_token: LeaseToken::parse("t").unwrap(),
            message: message("b"),
        });
        let good = good.unwrap();
        for (before, after, field) in [
            (r#""to":"b","#, "", "to"),
            (r#""to":"b""#, r#""to":"c""#, "message.to"),
            (r#""lease_token":"t","#, "", "lease_token"),
            ("\"message\"", "\"text\"", "message"),
            ("\"message\":\"", "\"message\":\"x", "message"),
        ] {
            let refusal = MailRequest::from_body(good.replacen(before, after, 1).as_bytes()).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.field.as_deref()),
                (Code::InvalidField, Some(field)),
                "{after}"
            );
        }
        let many = serde_json::to_string(&vec![MailId::new(1); 65]).unwrap();
        for (key, value, field) in [
            ("lease_token", "null", "lease_token"),
            ("acknowledge", "\"0123456789abcdef\"", "acknowledge"),
            ("acknowledge", "[\"1\"]", "acknowledge"),
            ("acknowledge", &many, "acknowledge"),
            ("wait_seconds", "26", "wait_seconds"),
            ("wait_seconds", "-1", "wait_seconds"),
        ] {
            let mut body = r#"{"peer_id":"b","lease_token":"t"}"#.to_owned();
            if key == "lease_token" {
                body = body.replace("\"t\"", value);
            } else {
                body = body.replace('}', &format!(",\"{key}\":{value}}}"));
            }
            let refusal = MailboxRequest::from_body(body.as_bytes()).unwrap_err();
            assert_eq!((refusal.code, refusal.field.as_deref()), (Code::InvalidField, Some(field)), "{body}");
        }
    }
}
