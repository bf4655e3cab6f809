//! The registration of a peer, and the peer as other clients read it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Address, Archetypes, EncodedPeer, Invalid, Metadata, PeerId, Timestamp};

/// What a peer publishes about itself: five of the six keys of the legacy view, without
/// `last_seen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The peer's id.
    pub peer_id: PeerId,
    /// The address at which it can be reached.
    pub address: Address,
    /// Its port. 0 means that it accepts no connections.
    pub port: u16,
    /// The archetypes it carries.
    pub archetypes: Archetypes,
    /// Its metadata.
    pub metadata: Metadata,
}

/// A peer as a page lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The peer's id.
    pub peer_id: PeerId,
    /// The address at which it can be reached.
    pub address: Address,
    /// Its port. 0 means that it accepts no connections.
    pub port: u16,
    /// The archetypes it carries. Empty in the contact view.
    #[serde(default)]
    pub archetypes: Archetypes,
    /// When its lease last began or was renewed: by a registration, a heartbeat, or a restart of
    /// the service that gave it a new lease. A service may leave out some renewals. `None` in the
    /// contact view.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Timestamp>,
    /// Its metadata. Empty in the contact view.
    #[serde(default)]
    pub metadata: Metadata,
    /// Whole seconds until its lease ends, in the full view only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
    /// Whole seconds since it registered, in the full view only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_seconds_ago: Option<u64>,
    /// The signed registration, a compact JWS, in the full view of a peer that signed.
    /// [`SignedRecord`](crate::SignedRecord) verifies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<String>,
}

/// A registration as the JSON that `/discover` lists. It is encoded once, so that listing a peer
/// only copies bytes.
///
/// The keys have the order of the original service. The value of `last_seen` is a placeholder of
/// fixed length. The time is filled in when the peer is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerJson {
    text: Box<str>,
    /// The length of the front of the [`EncodedPeer`].
    front: u16,
}

impl PeerJson {
    /// Encodes a registration.
    pub fn new(registration: &Registration) -> Self {
        let Registration { peer_id, address, port, archetypes, metadata } = registration;
        // Serializing strings and lists of strings cannot fail. If it did, the empty text would
        // fail every test of this module.
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let archetypes = serde_json::to_string(archetypes).unwrap_or_default();
        let mut text = format!(
            "{{\"peer_id\":{},\"address\":{},\"port\":{port},\"archetypes\":{archetypes}",
            quoted(peer_id.as_str()),
            quoted(&address.to_string()),
        );
        // The length always fits: the longest id, address and archetypes take far less than 64 KiB,
        // even if every character is escaped.
        let front = u16::try_from(text.len().saturating_sub(EncodedPeer::PREFIX.len())).unwrap_or(u16::MAX);
        text.reserve_exact(
            EncodedPeer::LAST_SEEN.len() + metadata.as_str().len() + EncodedPeer::SUFFIX.len(),
        );
        text.push_str(EncodedPeer::LAST_SEEN);
        text.push_str(metadata.as_str());
        text.push_str(EncodedPeer::SUFFIX);
        Self { text: text.into(), front }
    }

    /// Parses text that [`PeerJson::new`] wrote. It checks the syntax, and every key except
    /// `last_seen` and the content of `metadata`, which was checked when the peer registered. This
    /// must be fast, because a store may parse millions of such texts when it starts.
    ///
    /// # Errors
    /// [`Invalid`] if the text is not a registration in this form.
    pub fn parse(text: &str) -> Result<(Self, Registration), Invalid> {
        let stored: StoredRegistration<'_> = serde_json::from_str(text)
            .map_err(|error| Invalid(format!("is not a registration: {error}").into()))?;
        let registration = Registration {
            peer_id: PeerId::parse(&stored.peer_id)?,
            address: Address::try_from(stored.address.into_owned())?,
            port: stored.port,
            archetypes: Archetypes::parse_stored(&stored.archetypes)?,
            metadata: Metadata::from_stored(stored.metadata)?,
        };
        // JSON with another order of keys or other white space is encoded again in the standard
        // form.
        match Self::front_of(text, stored.metadata.get()) {
            Some(front) => Ok((Self { text: text.into(), front }, registration)),
            None => Ok((Self::new(&registration), registration)),
        }
    }

    /// The length of the front, if the text begins and ends as [`PeerJson::new`] writes it.
    fn front_of(text: &str, metadata: &str) -> Option<u16> {
        let before = text.strip_suffix(EncodedPeer::SUFFIX)?.strip_suffix(metadata)?;
        let front = before.strip_prefix(EncodedPeer::PREFIX)?.strip_suffix(EncodedPeer::LAST_SEEN)?;
        u16::try_from(front.len()).ok()
    }

    /// The JSON, with a placeholder as the value of `last_seen`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The compact form.
    pub fn encoded(&self) -> EncodedPeer<'_> {
        EncodedPeer::of_json(&self.text, self.front.into())
    }
}

/// A registration as stores keep it, borrowed from its text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRegistration<'a> {
    #[serde(borrow)]
    peer_id: Cow<'a, str>,
    #[serde(borrow)]
    address: Cow<'a, str>,
    port: u16,
    archetypes: Vec<String>,
    #[serde(borrow, rename = "last_seen")]
    _last_seen: Cow<'a, str>,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_another_form_is_normalized_or_refused() {
        let other = r#"{"metadata":{ },"peer_id":"p","address":"10.0.0.1","port":1,"archetypes":["a"],"last_seen":"x"}"#;
        let (json, registration) = PeerJson::parse(other).unwrap();
        assert_eq!(json, PeerJson::new(&registration));
        let good = json.as_str();
        for bad in [
            &good[1..],
            &good[..good.len() - 1],
            &good.replace("\"p\"", "\"p p\""),
            &good.replace("10.0.0.1", "224.0.0.1:1"),
            &good.replace("\"port\":1", "\"port\":65536"),
            &good.replace("[\"a\"]", "[\"\"]"),
            &good.replace("{ }", "{ "),
            &good.replace("{ }", "[]"),
            &good.replace("\"port\"", "\"door\""),
        ] {
            assert!(PeerJson::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stored_registration_round_trips() {
        let registration = Registration {
            peer_id: PeerId::parse(r#"quote"back\slash"#).unwrap(),
            address: Address::parse("192.168.1.100").unwrap().unwrap(),
            port: 9000,
            archetypes: Archetypes::parse(&["pepino", "\"é\\"]).unwrap(),
            metadata: Metadata::parse(r#"{"big": 123456789012345678901234567890}"#).unwrap(),
        };
        let json = PeerJson::new(&registration);
        assert_eq!(PeerJson::parse(json.as_str()).unwrap(), (json.clone(), registration));
        assert_eq!(json.encoded().to_json(), json.as_str().as_bytes());
        let peer: Peer = serde_json::from_str(json.as_str()).unwrap();
        assert_eq!(peer.last_seen, Some(Timestamp::default()));
    }
}
