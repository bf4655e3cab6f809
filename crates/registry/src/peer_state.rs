//! The complete state of a peer, as it moves from one store to another.

use aurora_discovery_protocol::{
    Address, Archetypes, Invalid, Metadata, PeerId, PublicKey, Registration, Timestamp, Ttl,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::{Holder, Lock, OriginHash, Position, SignedPeer, Source, Standing, TokenHash};

/// Everything that a store keeps of a live peer, a dormant peer, or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerState {
    /// What the peer published.
    pub registration: Registration,
    /// The duration of its lease.
    pub ttl: Ttl,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// When its holder last proved itself.
    pub proven_at: Timestamp,
    /// When its lease ends.
    pub expires_at: Timestamp,
    /// Its holder.
    pub holder: Holder,
    /// The lock of its name and its signed registration, if it signed.
    pub signed: Option<SignedPeer>,
}

impl PeerState {
    /// The data from which the rules decide which client may change the peer.
    pub fn standing(&self) -> Standing {
        let lock = self.signed.as_ref().map(|signed| signed.lock);
        let Self { holder, proven_at, ttl, expires_at, .. } = *self;
        Standing { holder, proven_at, ttl, expires_at, lock }
    }

    /// The state as one line of JSON. It contains no token, only the hash of one.
    pub fn to_json(&self) -> String {
        // Serializing strings, numbers and lists cannot fail. If it did, the empty line would fail
        // every test of this module.
        serde_json::to_string(&Line::from(self.clone())).unwrap_or_default()
    }

    /// Parses what [`PeerState::to_json`] wrote.
    ///
    /// # Errors
    /// [`Invalid`] with the key and the rule that it breaks.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        let line: Line = serde_json::from_str(text)
            .map_err(|error| Invalid(format!("is not the state of a peer: {error}").into()))?;
        line.try_into()
    }
}

/// A page of an export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportPage {
    /// The peers.
    pub peers: Vec<PeerState>,
    /// The number of peers that are left out, because their stored data cannot be parsed.
    pub skipped: u64,
    /// The start of the next page, or `None` after the last one.
    pub next: Option<Position>,
}

/// The result of importing a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// The peer is stored.
    Stored,
    /// The store knows a peer of this name, which is unchanged.
    Known,
}

/// The JSON of a peer's state. Times are in milliseconds since the epoch.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    peer_id: PeerId,
    address: Address,
    port: u16,
    archetypes: Archetypes,
    metadata: Metadata,
    ttl_seconds: u32,
    registered_at_millis: u64,
    last_seen_millis: u64,
    proven_at_millis: u64,
    expires_at_millis: u64,
    /// An IPv4 address, or an IPv6 /64.
    source: String,
    token_hash: String,
    token_only: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signed: Option<SignedLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedLine {
    key: PublicKey,
    seq: u64,
    locked_since_millis: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_at_millis: Option<u64>,
    record: String,
}

impl From<PeerState> for Line {
    fn from(state: PeerState) -> Self {
        let Registration { peer_id, address, port, archetypes, metadata } = state.registration;
        let Holder { source, token, page, token_only } = state.holder;
        Self {
            peer_id,
            address,
            port,
            archetypes,
            metadata,
            ttl_seconds: state.ttl.as_secs(),
            registered_at_millis: state.registered_at.as_millis(),
            last_seen_millis: state.last_seen.as_millis(),
            proven_at_millis: state.proven_at.as_millis(),
            expires_at_millis: state.expires_at.as_millis(),
            source: source.to_string(),
            token_hash: URL_SAFE_NO_PAD.encode(token.to_bytes()),
            token_only,
            page_hash: page.map(|page| URL_SAFE_NO_PAD.encode(page.to_bytes())),
            signed: state.signed.map(SignedLine::from),
        }
    }
}

impl From<SignedPeer> for SignedLine {
    fn from(SignedPeer { lock, record }: SignedPeer) -> Self {
        Self {
            key: lock.key,
            seq: lock.seq,
            locked_since_millis: lock.since.as_millis(),
            left_at_millis: lock.left_at.map(Timestamp::as_millis),
            record: record.to_string(),
        }
    }
}

impl TryFrom<Line> for PeerState {
    type Error = Invalid;

    fn try_from(line: Line) -> Result<Self, Invalid> {
        let Line { peer_id, address, port, archetypes, metadata, .. } = line;
        Ok(Self {
            registration: Registration { peer_id, address, port, archetypes, metadata },
            ttl: Ttl::from_secs(line.ttl_seconds),
            registered_at: Timestamp::from_millis(line.registered_at_millis),
            last_seen: Timestamp::from_millis(line.last_seen_millis),
            proven_at: Timestamp::from_millis(line.proven_at_millis),
            expires_at: Timestamp::from_millis(line.expires_at_millis),
            holder: Holder {
                source: source(&line.source)
                    .ok_or(Invalid::rule("source must be an IPv4 address or an IPv6 /64"))?,
                token: TokenHash::from_bytes(hash(
                    &line.token_hash,
                    "token_hash must be 16 bytes in base64url",
                )?),
                page: line
                    .page_hash
                    .map(|text| hash(&text, "page_hash must be 8 bytes in base64url"))
                    .transpose()?
                    .map(OriginHash::from_bytes),
                token_only: line.token_only,
            },
            signed: line.signed.map(SignedPeer::from),
        })
    }
}

impl From<SignedLine> for SignedPeer {
    fn from(line: SignedLine) -> Self {
        let lock = Lock {
            key: line.key,
            seq: line.seq,
            since: Timestamp::from_millis(line.locked_since_millis),
            left_at: line.left_at_millis.map(Timestamp::from_millis),
        };
        Self { lock, record: line.record.into() }
    }
}

fn source(text: &str) -> Option<Source> {
    let address = text.strip_suffix("/64").unwrap_or(text).parse().ok()?;
    // Text that `Source` would not write, for example a single IPv6 address, is refused as a
    // mistake.
    Some(Source::of(address)).filter(|source| source.to_string() == text)
}

fn hash<const N: usize>(text: &str, rule: &'static str) -> Result<[u8; N], Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::rule(rule))?;
    bytes.try_into().map_err(|_| Invalid::rule(rule))
}

#[cfg(test)]
mod tests {
    use crate::WebOrigin;

    use super::*;

    fn state() -> PeerState {
        let since = Timestamp::from_secs(1_759_000_000);
        let lock = Lock { key: PublicKey::from_bytes([5; 32]), seq: (1 << 53) - 1, since, left_at: None };
        PeerState {
            registration: Registration {
                peer_id: PeerId::parse("p").unwrap(),
                address: Address::parse("192.168.1.100").unwrap().unwrap(),
                port: 9_000,
                archetypes: Archetypes::parse(&["two words", "β"]).unwrap(),
                metadata: Metadata::parse(r#"{ "n": 123456789012345678901234567890 }"#).unwrap(),
            },
            ttl: Ttl::from_secs(300),
            registered_at: since,
            last_seen: Timestamp::from_millis(1_759_406_400_123),
            proven_at: Timestamp::from_millis(1_759_406_400_122),
            expires_at: Timestamp::from_millis(1_759_406_700_123),
            holder: Holder {
                source: Source::of("203.0.113.7".parse().unwrap()),
                token: TokenHash::from_bytes([7; TokenHash::LEN]),
                page: WebOrigin::of_header(b"https://page.example").page(),
                token_only: true,
            },
            signed: Some(SignedPeer { lock, record: "a.b.c".into() }),
        }
    }

    #[test]
    fn every_state_survives_its_line_unchanged() {
        let whole = state();
        let v6 = Holder { source: Source::of("2001:db8::1".parse().unwrap()), page: None, ..whole.holder };
        let left = whole.signed.as_ref().unwrap().left(Timestamp::from_millis(9));
        for state in [
            PeerState { holder: v6, signed: None, ..whole.clone() },
            PeerState { signed: Some(left), ..whole.clone() },
            whole,
        ] {
            let line = state.to_json();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(PeerState::from_json(&line).unwrap(), state);
        }
    }

    #[test]
    fn a_line_that_breaks_a_rule_is_refused_with_the_reason() {
        let line = state().to_json();
        for (from, to, rule) in [
            ("203.0.113.7", "2001:db8::1", "source must be"),
            ("203.0.113.7", "2001:db8::1/64", "source must be"),
            (r#""token_hash":""#, r#""token_hash":"AA"#, "token_hash must be 16 bytes"),
            (r#""page_hash":""#, r#""page_hash":"!"#, "page_hash must be 8 bytes"),
            (r#""peer_id":"p""#, r#""peer_id":"p q""#, "peer_id"),
            (r#""port":9000"#, r#""port":9000,"later":1"#, "later"),
            (r#""token_only":true,"#, "", "token_only"),
        ] {
            let broken = line.replace(from, to);
            assert_ne!(broken, line);
            let error = PeerState::from_json(&broken).unwrap_err().to_string();
            assert!(error.contains(rule) || from.contains("peer_id"), "{broken}: {error}");
        }
    }
}
