//! The binary encoding of changes and peers in the journal and the checkpoint.
//!
//! The first byte is the kind of the record, which also determines the encoding of the rest.
//! Numbers are big-endian, and times are in milliseconds. A new encoding gets a new kind.

use aurora_discovery_protocol::{PeerId, Timestamp, Ttl};
use aurora_discovery_registry::{Holder, Source, TokenHash};

/// A change, or the complete state of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// The complete state of a peer.
    Registered(Registered<'a>),
    /// A peer's lease ended.
    Expired { peer: &'a str, at: Timestamp },
    /// A dormant peer was revived.
    Revived { peer: &'a str, at: Timestamp },
    /// A peer was deregistered or evicted.
    Removed { peer: &'a str },
}

/// The complete state of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered<'a> {
    pub(crate) dormant: bool,
    pub(crate) holder: Holder,
    pub(crate) ttl: Ttl,
    pub(crate) registered_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// As written by `PeerJson`. Not parsed yet.
    pub(crate) json: &'a str,
}

const LIVE: u8 = 1;
const DORMANT: u8 = 2;
const EXPIRED: u8 = 3;
const REVIVED: u8 = 4;
const REMOVED: u8 = 5;

impl<'a> Record<'a> {
    /// Bytes of a [`Record::Registered`] before its JSON.
    pub(crate) const HEAD: usize = 1 + 9 + TokenHash::LEN + 4 + 3 * 8;

    /// Appends the encoded record.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Registered(registered) => registered.encode(out),
            Self::Expired { peer, at } => encode_event(out, EXPIRED, *at, peer),
            Self::Revived { peer, at } => encode_event(out, REVIVED, *at, peer),
            Self::Removed { peer } => {
                out.push(REMOVED);
                out.extend_from_slice(peer.as_bytes());
            }
        }
    }

    /// Decodes a record that [`Record::encode`] wrote. Returns `None` for invalid bytes.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, mut rest) = bytes.split_first()?;
        match kind {
            // The kind says whether the peer is dormant, which saves a field.
            LIVE | DORMANT => Registered::decode(kind == DORMANT, rest).map(Self::Registered),
            EXPIRED => Some(Self::Expired { at: timestamp(&mut rest)?, peer: peer(rest)? }),
            REVIVED => Some(Self::Revived { at: timestamp(&mut rest)?, peer: peer(rest)? }),
            REMOVED => Some(Self::Removed { peer: peer(rest)? }),
            _ => None,
        }
    }
}

impl<'a> Registered<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(Record::HEAD + self.json.len());
        out.push(if self.dormant { DORMANT } else { LIVE });
        out.extend_from_slice(&self.holder.source.to_bytes());
        out.extend_from_slice(&self.holder.token.to_bytes());
        out.extend_from_slice(&self.ttl.as_secs().to_be_bytes());
        for timestamp in [self.registered_at, self.last_seen, self.expires_at] {
            out.extend_from_slice(&timestamp.as_millis().to_be_bytes());
        }
        out.extend_from_slice(self.json.as_bytes());
    }

    fn decode(dormant: bool, mut rest: &'a [u8]) -> Option<Self> {
        let source = Source::from_bytes(take(&mut rest)?)?;
        let token = TokenHash::from_bytes(take(&mut rest)?);
        Some(Self {
            dormant,
            holder: Holder { source, token },
            ttl: Ttl::from_secs(u32::from_be_bytes(take(&mut rest)?)),
            registered_at: timestamp(&mut rest)?,
            last_seen: timestamp(&mut rest)?,
            expires_at: timestamp(&mut rest)?,
            json: std::str::from_utf8(rest).ok()?,
        })
    }
}

fn encode_event(out: &mut Vec<u8>, kind: u8, at: Timestamp, peer: &str) {
    out.push(kind);
    out.extend_from_slice(&at.as_millis().to_be_bytes());
    out.extend_from_slice(peer.as_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn timestamp(rest: &mut &[u8]) -> Option<Timestamp> {
    take(rest).map(u64::from_be_bytes).map(Timestamp::from_millis)
}

fn peer(rest: &[u8]) -> Option<&str> {
    std::str::from_utf8(rest).ok().filter(|text| PeerId::parse(text).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registered(json: &str) -> Record<'_> {
        Record::Registered(Registered {
            dormant: true,
            holder: Holder {
                source: Source::of("2001:db8::1".parse().unwrap()),
                token: TokenHash::from_bytes([7; TokenHash::LEN]),
            },
            ttl: Ttl::from_secs(300),
            registered_at: Timestamp::from_millis(1),
            last_seen: Timestamp::from_millis(2),
            expires_at: Timestamp::from_millis(u64::MAX),
            json,
        })
    }

    #[test]
    fn every_record_decodes_to_its_original() {
        let at = Timestamp::from_millis(1_759_406_400_123);
        for record in [
            registered("{}"),
            Record::Expired { peer: "p", at },
            Record::Revived { peer: "p", at },
            Record::Removed { peer: "p" },
        ] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Some(record.clone()));
            for cut in 0..bytes.len().min(Record::HEAD) {
                assert!(Record::decode(&bytes[..cut]) != Some(record.clone()), "{cut}");
            }
        }
    }

    #[test]
    fn the_encoding_of_records_is_stable() {
        let mut bytes = Vec::new();
        registered("{}").encode(&mut bytes);
        let mut expected = vec![2, 6, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0];
        expected.extend_from_slice(&[7; 16]);
        expected.extend_from_slice(&[0, 0, 1, 44]);
        expected.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        expected.extend_from_slice(&253_402_300_799_999_u64.to_be_bytes());
        expected.extend_from_slice(b"{}");
        assert_eq!(bytes, expected);
    }

    proptest! {
        #[test]
        fn decoding_arbitrary_bytes_never_panics(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..100),
            kind in 0..7_u8,
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = kind;
            }
            if let Some(record) = Record::decode(&bytes) {
                let mut again = Vec::new();
                record.encode(&mut again);
                prop_assert_eq!(Record::decode(&again), Some(record));
            }
        }
    }
}
