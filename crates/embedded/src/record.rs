//! The binary encoding of changes and peers in the journal and the checkpoint.
//!
//! The first byte is the kind of the record, which also determines the encoding of the rest.
//! Numbers are big-endian, and times are in milliseconds. A new encoding gets a new kind.

use aurora_discovery_protocol::{PeerId, Timestamp, Ttl};
use aurora_discovery_registry::{Holder, OriginHash, Source, TokenHash};

use crate::signature::StoredSignature;

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
    pub(crate) signed: Option<StoredSignature<'a>>,
    pub(crate) ttl: Ttl,
    pub(crate) registered_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// As written by `PeerJson`. Not parsed yet.
    pub(crate) json: &'a str,
}

/// The kinds of a live and of a dormant peer without flags, as releases up to commit 890211c wrote
/// them. They are read, but no longer written.
const LIVE_WITHOUT_FLAGS: u8 = 1;
const DORMANT_WITHOUT_FLAGS: u8 = 2;
const EXPIRED: u8 = 3;
const REVIVED: u8 = 4;
const REMOVED: u8 = 5;
const LIVE: u8 = 6;
const DORMANT: u8 = 7;

/// The flag of a token-only peer.
const TOKEN_ONLY: u8 = 1;
/// The flag of a peer that a web page registered. The hash of the page's origin follows the flags.
const HAS_PAGE: u8 = 2;
/// The flag of a peer that signed. Its lock and its signed registration follow, after their length
/// in four bytes.
const SIGNED: u8 = 4;

impl<'a> Record<'a> {
    /// Maximum number of bytes of a [`Record::Registered`] without its JSON and its signed
    /// registration.
    pub(crate) const HEAD: usize =
        1 + 9 + TokenHash::LEN + 4 + 3 * 8 + 1 + OriginHash::LEN + 4 + StoredSignature::HEAD;

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

    /// Decodes a record that this or an earlier release wrote. Returns `None` for invalid bytes.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&kind, mut rest) = bytes.split_first()?;
        match kind {
            // The kind of the record says whether the peer is dormant, so no field is needed for
            // that.
            LIVE | LIVE_WITHOUT_FLAGS => Registered::decode(false, kind == LIVE, rest).map(Self::Registered),
            DORMANT | DORMANT_WITHOUT_FLAGS => {
                Registered::decode(true, kind == DORMANT, rest).map(Self::Registered)
            }
            EXPIRED => Some(Self::Expired { at: timestamp(&mut rest)?, peer: peer(rest)? }),
            REVIVED => Some(Self::Revived { at: timestamp(&mut rest)?, peer: peer(rest)? }),
            REMOVED => Some(Self::Removed { peer: peer(rest)? }),
            _ => None,
        }
    }
}

impl<'a> Registered<'a> {
    /// The same record with `offset` milliseconds added to all times.
    pub(crate) fn shifted_by_millis(self, offset: i64) -> Self {
        Self {
            signed: self.signed.map(|signed| signed.shifted_by_millis(offset)),
            registered_at: self.registered_at.shifted_by_millis(offset),
            last_seen: self.last_seen.shifted_by_millis(offset),
            expires_at: self.expires_at.shifted_by_millis(offset),
            ..self
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(Record::HEAD + self.json.len() + self.signed.map_or(0, |signed| signed.record.len()));
        out.push(if self.dormant { DORMANT } else { LIVE });
        out.extend_from_slice(&self.holder.source.to_bytes());
        out.extend_from_slice(&self.holder.token.to_bytes());
        out.extend_from_slice(&self.ttl.as_secs().to_be_bytes());
        for timestamp in [self.registered_at, self.last_seen, self.expires_at] {
            out.extend_from_slice(&timestamp.as_millis().to_be_bytes());
        }
        let Holder { page, token_only, .. } = self.holder;
        let token_only = if token_only { TOKEN_ONLY } else { 0 };
        let has_page = if page.is_some() { HAS_PAGE } else { 0 };
        let signed = if self.signed.is_some() { SIGNED } else { 0 };
        out.push(token_only | has_page | signed);
        page.into_iter().for_each(|page| out.extend_from_slice(&page.to_bytes()));
        if let Some(signed) = self.signed {
            // The lock and the signed registration are far shorter than 4 GiB, so their length fits
            // into four bytes.
            out.extend_from_slice(&u32::try_from(signed.len()).unwrap_or(u32::MAX).to_be_bytes());
            signed.encode(out);
        }
        out.extend_from_slice(self.json.as_bytes());
    }

    fn decode(dormant: bool, has_flags: bool, mut rest: &'a [u8]) -> Option<Self> {
        let source = Source::from_bytes(take(&mut rest)?)?;
        let token = TokenHash::from_bytes(take(&mut rest)?);
        let ttl = Ttl::from_secs(u32::from_be_bytes(take(&mut rest)?));
        let [registered_at, last_seen, expires_at] =
            [timestamp(&mut rest)?, timestamp(&mut rest)?, timestamp(&mut rest)?];
        let flags = if has_flags { Flags::decode(&mut rest)? } else { Flags::default() };
        Some(Self {
            dormant,
            holder: Holder { source, token, page: flags.page, token_only: flags.token_only },
            signed: flags.signed,
            ttl,
            registered_at,
            last_seen,
            expires_at,
            json: std::str::from_utf8(rest).ok()?,
        })
    }
}

/// The flags of a record, and the data that follows them.
#[derive(Default)]
struct Flags<'a> {
    token_only: bool,
    page: Option<OriginHash>,
    signed: Option<StoredSignature<'a>>,
}

impl<'a> Flags<'a> {
    fn decode(rest: &mut &'a [u8]) -> Option<Self> {
        let [flags] = take(rest)?;
        // A record with other flags is not read: a later release may have given them a meaning that
        // must not be ignored.
        if flags & !(TOKEN_ONLY | HAS_PAGE | SIGNED) != 0 {
            return None;
        }
        let page = if flags & HAS_PAGE == 0 { None } else { Some(OriginHash::from_bytes(take(rest)?)) };
        let signed = if flags & SIGNED == 0 { None } else { Some(signature(rest)?) };
        Some(Self { token_only: flags & TOKEN_ONLY != 0, page, signed })
    }
}

fn signature<'a>(rest: &mut &'a [u8]) -> Option<StoredSignature<'a>> {
    let len = usize::try_from(u32::from_be_bytes(take(rest)?)).ok()?;
    let (signature, after) = rest.split_at_checked(len)?;
    *rest = after;
    StoredSignature::parse(signature)
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

    fn registered(json: &str, page: Option<OriginHash>, token_only: bool) -> Record<'_> {
        Record::Registered(Registered {
            dormant: true,
            holder: Holder {
                source: Source::of("2001:db8::1".parse().unwrap()),
                token: TokenHash::from_bytes([7; TokenHash::LEN]),
                page,
                token_only,
            },
            signed: None,
            ttl: Ttl::from_secs(300),
            registered_at: Timestamp::from_millis(1),
            last_seen: Timestamp::from_millis(2),
            expires_at: Timestamp::from_millis(u64::MAX),
            json,
        })
    }

    const PAGE: Option<OriginHash> = Some(OriginHash::from_bytes([8; OriginHash::LEN]));

    #[test]
    fn every_record_decodes_to_its_original() {
        let at = Timestamp::from_millis(1_759_406_400_123);
        for record in [
            registered("{}", None, false),
            registered("{}", None, true),
            registered("{}", PAGE, false),
            registered("{}", PAGE, true),
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

    /// A dormant peer of this kind, up to its flags.
    fn head(kind: u8) -> Vec<u8> {
        let mut bytes = vec![kind, 6, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0];
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(&[0, 0, 1, 44]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
        bytes.extend_from_slice(&253_402_300_799_999_u64.to_be_bytes());
        bytes
    }

    #[test]
    fn the_encoding_of_records_is_stable() {
        let encoded = |page, token_only| {
            let mut bytes = Vec::new();
            registered("{}", page, token_only).encode(&mut bytes);
            bytes
        };
        assert_eq!(encoded(None, false), [&head(7)[..], b"\0{}"].concat());
        assert_eq!(encoded(None, true), [&head(7)[..], b"\x01{}"].concat());
        assert_eq!(encoded(PAGE, false), [&head(7)[..], b"\x02\x08\x08\x08\x08\x08\x08\x08\x08{}"].concat());
        assert_eq!(encoded(PAGE, true)[head(7).len()], 3);
    }

    #[test]
    fn a_peer_of_an_earlier_release_has_no_page_and_is_not_token_only() {
        let dormant = [&head(2)[..], b"{}"].concat();
        assert_eq!(Record::decode(&dormant), Some(registered("{}", None, false)));
        let live = [&head(1)[..], b"{}"].concat();
        assert!(matches!(Record::decode(&live), Some(Record::Registered(peer)) if !peer.dormant));
    }

    #[test]
    fn a_record_with_unknown_flags_is_not_read() {
        assert_eq!(Record::decode(&[&head(7)[..], b"\x08{}"].concat()), None);
    }

    proptest! {
        #[test]
        fn decoding_arbitrary_bytes_never_panics(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..100),
            kind in 0..9_u8,
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
