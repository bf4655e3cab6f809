//! The representation of peers and other data as items of the table. This is the only module that
//! contains the names of attributes.
//!
//! Names and values are short, because a query or a scan is billed by the size of all items that it
//! reads. Expressions refer to every name by an alias, because DynamoDB reserves some words, such
//! as `ttl`.
//!
//! There are six kinds of items:
//!
//! - A *peer*, with the peer's id as its key. It has the registration, the lease and the holder.
//!   While the index lists the peer, the item also has the two index keys of its entry in the list
//!   of all peers. If a peer that signed its registration deregisters, its item becomes a
//!   *tombstone*, which only keeps the name locked.
//! - A *marker*, with an archetype and a peer's id in its key. It lists the peer in the index under
//!   the archetype, at the peer's position on the ring. It contains no part of the registration.
//!   Every list reads the peer's item as well. A marker therefore has no effect if its peer is
//!   deleted or no longer has the archetype.
//! - A *source marker*, with a source and a peer's id in its key. It lists the peer in the index
//!   under the source from which it registered. It exists only if the number of peers per source is
//!   bounded.
//! - The *table item*, which has the secret of the hash that places peers on the ring.
//! - The *block item*, which has the list of blocks.
//! - A *mailbox*, with the id of its peer in its key. It has the messages that wait for the peer.

mod mailbox;

use std::collections::HashMap;

use aurora_discovery_protocol::{
    Address, Archetype, Archetypes, Metadata, PeerId, PeerJson, PublicKey, Registration, Timestamp, Ttl,
};
use aurora_discovery_registry::{
    BlockList, Holder, Lock, OriginHash, SignedPeer, Source, Standing, TokenHash,
};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::lane::{LaneGroup, NetworkClass, RingPosition, Secret};

pub(crate) use mailbox::{mailbox_item, mailbox_key, mailbox_of};

/// An item in the SDK's representation.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The table's key: a peer's id, or the key of another kind of item. Such keys start with a space,
/// which an id cannot contain.
pub(crate) const KEY: &str = "peer_id";
/// The index's hash key: a lane of a list of peers (see `lane.rs`).
pub(crate) const LANE: &str = "lane";
/// The index's range key: the position on the ring and the class of the network, in eight bytes.
pub(crate) const RING_POSITION: &str = "h";
/// When DynamoDB may delete the item, in seconds since the epoch.
pub(crate) const TIME_TO_LIVE: &str = "ttl";
const REGISTRATION: &str = "reg";
pub(crate) const EXPIRES_AT: &str = "expires_at";
pub(crate) const LAST_SEEN: &str = "seen";
const REGISTERED_AT: &str = "since";
const LEASE_SECONDS: &str = "lease";
const HOLDER: &str = "holder";
/// A hash of the origin of the web page that registered the peer, if a web page did.
const PAGE: &str = "page";
/// Present and true if the peer is token-only.
const TOKEN_ONLY: &str = "token_only";
/// The public key that locks the name. The items of peers that signed have this attribute, `SEQ`,
/// `LOCKED_SINCE`, and either `RECORD` or `LEFT_AT`. Other items have none of them.
const KEY_OF_LOCK: &str = "key";
/// The sequence number of the signed registration.
const SEQ: &str = "seq";
/// When the name was locked.
const LOCKED_SINCE: &str = "locked";
/// The signed registration. A tombstone has none.
const RECORD: &str = "jws";
/// When the peer deregistered. Only a tombstone has this.
const LEFT_AT: &str = "left";
/// When a request proved that its sender is the holder. Not every later proof is stored. Items that
/// an earlier release wrote do not have this.
pub(crate) const PROVEN_AT: &str = "proven";
/// The [`Generation`] of a peer, a marker or a mailbox.
pub(crate) const GENERATION: &str = "gen";
/// When the markers of a peer expire, in seconds since the epoch.
pub(crate) const MARKERS_EXPIRE_AT: &str = "marked";
const SECRET: &str = "secret";
const BLOCKS: &str = "blocks";
/// The version of the list of blocks.
pub(crate) const VERSION: &str = "version";

/// The key of the item with the table's secret. It contains one space, and the keys of markers
/// contain at least two, so they never collide.
const TABLE_KEY: &str = " table";
/// The key of the item with the list of blocks.
const BLOCKS_KEY: &str = " blocks";

/// Distinguishes the registrations of a peer. Each registration gets a new random generation. The
/// peer also gets a new one when the sweep removes it from the index, and when it becomes a
/// tombstone. A mailbox gets a new one with each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) [u8; 8]);

/// A peer as stored in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredPeer {
    pub(crate) registration: Registration,
    pub(crate) json: PeerJson,
    pub(crate) expires_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) registered_at: Timestamp,
    pub(crate) ttl: Ttl,
    pub(crate) holder: Holder,
    /// The signed registration and the lock of the name, if the peer signed.
    pub(crate) signed: Option<SignedPeer>,
    /// The last stored time at which a request proved that its sender is the holder. `None` if an
    /// earlier release wrote the item.
    pub(crate) stored_proof: Option<Timestamp>,
    pub(crate) generation: Generation,
    /// When the markers of the peer expire, in seconds since the epoch.
    pub(crate) markers_expire_at: u64,
    /// Whether the index lists the peer. The sweep may remove a long-dormant peer from the index,
    /// and a revival adds it again.
    pub(crate) indexed: bool,
}

/// Why an item cannot be parsed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ItemError(String);

/// The parts of a registration that are not in the item's key.
#[derive(Serialize)]
struct Body<'a> {
    address: &'a Address,
    port: u16,
    archetypes: &'a Archetypes,
    metadata: &'a Metadata,
}

/// The same as [`Body`], for parsing.
#[derive(Deserialize)]
struct ParsedBody {
    address: Address,
    port: u16,
    archetypes: Archetypes,
    metadata: Metadata,
}

impl StoredPeer {
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// The standing of the peer, by which the registry decides who may change it.
    pub(crate) fn standing(&self) -> Standing {
        // Releases that stored no proof did not check who sent a heartbeat. For the items that they
        // wrote, the last heartbeat counts as the proof.
        let proven_at = self.stored_proof.unwrap_or(self.last_seen);
        let lock = self.signed.as_ref().map(|signed| signed.lock);
        Standing { holder: self.holder, proven_at, ttl: self.ttl, expires_at: self.expires_at, lock }
    }

    /// The standing that protects this registration the most: the holder has just proved itself,
    /// and the lease is running. Heartbeats cannot give the registration more protection than that.
    /// So if this standing permits a change, the change stays permitted for as long as the
    /// generation is the same.
    pub(crate) fn strongest_standing(&self, now: Timestamp) -> Standing {
        Standing { proven_at: now, expires_at: now.plus_millis(1), ..self.standing() }
    }

    /// Whether the peer is live, or dormant, or a tombstone.
    pub(crate) fn is_known(&self, now: Timestamp, revival_window_millis: u64) -> bool {
        now < self.standing().known_until(revival_window_millis)
    }

    /// When DynamoDB may delete the peer's item, in seconds since the epoch.
    pub(crate) fn deletable_at(&self, revival_window_millis: u64) -> u64 {
        // The time is rounded up to the next second, so that the item is not deleted while the peer
        // is still known.
        self.standing().known_until(revival_window_millis).as_secs() + 1
    }

    pub(crate) fn archetypes(&self) -> &[Archetype] {
        self.registration.archetypes.as_slice()
    }

    /// Whether the peer has any of these archetypes. `true` if `archetypes` is empty.
    pub(crate) fn has_any_of(&self, archetypes: &[Archetype]) -> bool {
        archetypes.is_empty() || archetypes.iter().any(|archetype| self.archetypes().contains(archetype))
    }

    /// Encodes the peer as an item.
    ///
    /// # Errors
    /// [`ItemError`] if the registration cannot be encoded as JSON.
    pub(crate) fn to_item(&self, secret: &Secret, revival_window_millis: u64) -> Result<Item, ItemError> {
        let Registration { peer_id, address, port, archetypes, metadata } = &self.registration;
        let body = serde_json::to_string(&Body { address, port: *port, archetypes, metadata })
            .map_err(|error| ItemError(format!("{REGISTRATION} cannot be encoded: {error}")))?;
        let mut item = HashMap::from([
            (KEY.to_owned(), text(peer_id.as_str())),
            (REGISTRATION.to_owned(), text(body)),
            (EXPIRES_AT.to_owned(), number(self.expires_at.as_millis())),
            (LAST_SEEN.to_owned(), number(self.last_seen.as_millis())),
            (REGISTERED_AT.to_owned(), number(self.registered_at.as_millis())),
            (LEASE_SECONDS.to_owned(), number(self.ttl.as_secs().into())),
            (HOLDER.to_owned(), holder_bytes(&self.holder)),
            (GENERATION.to_owned(), bytes(self.generation.0)),
            (MARKERS_EXPIRE_AT.to_owned(), number(self.markers_expire_at)),
            (TIME_TO_LIVE.to_owned(), number(self.deletable_at(revival_window_millis))),
        ]);
        if let Some(proven_at) = self.stored_proof {
            item.insert(PROVEN_AT.to_owned(), number(proven_at.as_millis()));
        }
        if let Some(page) = self.holder.page {
            item.insert(PAGE.to_owned(), bytes(page.to_bytes()));
        }
        if self.holder.token_only {
            item.insert(TOKEN_ONLY.to_owned(), AttributeValue::Bool(true));
        }
        if let Some(signed) = &self.signed {
            item.extend(signed_attributes(signed));
        }
        // DynamoDB adds an item to the index only if the item has the index keys.
        if self.indexed {
            let key = secret.position(peer_id).range_key(secret.class(self.holder.source));
            item.extend(index_keys(LaneGroup::All.lane_key(key.lane()), key));
        }
        Ok(item)
    }

    /// Parses a peer's item. All values are validated again, so that a malformed one is detected
    /// here and not later.
    ///
    /// # Errors
    /// [`ItemError`] if an attribute is missing or malformed.
    pub(crate) fn from_item(item: &Item) -> Result<Self, ItemError> {
        let ParsedBody { address, port, archetypes, metadata } =
            serde_json::from_str(text_of(item, REGISTRATION)?)
                .map_err(|error| ItemError(format!("{REGISTRATION} is not a valid registration: {error}")))?;
        let peer_id =
            PeerId::parse(text_of(item, KEY)?).map_err(|rule| ItemError(format!("{KEY} {rule}")))?;
        let registration = Registration { peer_id, address, port, archetypes, metadata };
        Ok(Self {
            json: PeerJson::new(&registration),
            registration,
            expires_at: Timestamp::from_millis(number_of(item, EXPIRES_AT)?),
            last_seen: Timestamp::from_millis(number_of(item, LAST_SEEN)?),
            registered_at: Timestamp::from_millis(number_of(item, REGISTERED_AT)?),
            ttl: Ttl::from_secs(number_of(item, LEASE_SECONDS)?),
            holder: holder_of(item)?,
            signed: optional(item, KEY_OF_LOCK, signed_of)?,
            stored_proof: optional(item, PROVEN_AT, number_of)?.map(Timestamp::from_millis),
            generation: Generation(array_of(item, GENERATION)?),
            markers_expire_at: number_of(item, MARKERS_EXPIRE_AT)?,
            indexed: item.contains_key(LANE),
        })
    }
}

/// The key of a peer's item.
pub(crate) fn peer_key(peer: &PeerId) -> Item {
    key(peer.as_str())
}

/// The key of an item as a string.
pub(crate) fn key_of(item: &Item) -> Option<&str> {
    item.get(KEY)?.as_s().ok().map(String::as_str)
}

/// Parses an index entry: the position of the peer, its id and the class of its network. An
/// archetype may contain spaces, but an id may not, so the id follows the last space of the key.
pub(crate) fn parse_index_entry(item: &Item) -> Result<(RingPosition, PeerId, NetworkClass), ItemError> {
    let key = text_of(item, KEY)?;
    let id = key.rsplit(' ').next().unwrap_or(key);
    let peer = PeerId::parse(id).map_err(|rule| ItemError(format!("{KEY} {rule}")))?;
    let (position, class) = RingPosition::split(u64::from_be_bytes(array_of(item, RING_POSITION)?));
    Ok((position, peer, class))
}

/// Whether an item is a peer. The keys of all other kinds of items begin with a space.
pub(crate) fn is_peer(item: &Item) -> bool {
    text_of(item, KEY).is_ok_and(|key| !key.starts_with(' '))
}

/// The key of the item with the table's secret.
pub(crate) fn table_key() -> Item {
    key(TABLE_KEY)
}

/// The item with the table's secret.
pub(crate) fn secret_item(secret: &Secret) -> Item {
    let mut item = table_key();
    item.insert(SECRET.to_owned(), bytes(*secret.as_bytes()));
    item
}

/// Parses the table's secret.
pub(crate) fn secret_of(item: &Item) -> Result<Secret, ItemError> {
    array_of(item, SECRET).map(Secret::from_bytes)
}

/// The key of the item with the list of blocks.
pub(crate) fn blocks_key() -> Item {
    key(BLOCKS_KEY)
}

/// The item with the list of blocks.
pub(crate) fn blocks_item(list: &BlockList) -> Item {
    let mut item = blocks_key();
    item.insert(BLOCKS.to_owned(), text(list.text.clone()));
    item.insert(VERSION.to_owned(), number(list.version));
    item
}

/// Parses the list of blocks.
pub(crate) fn blocks_of(item: &Item) -> Result<BlockList, ItemError> {
    Ok(BlockList { version: number_of(item, VERSION)?, text: text_of(item, BLOCKS)?.to_owned() })
}

/// Converts the string of a key to the key of an item.
pub(crate) fn key(text_of_key: &str) -> Item {
    HashMap::from([(KEY.to_owned(), text(text_of_key))])
}

/// The attributes that list an item in the index.
pub(crate) fn index_keys(lane_key: String, range_key: RingPosition) -> [(String, AttributeValue); 2] {
    [(LANE.to_owned(), text(lane_key)), (RING_POSITION.to_owned(), bytes(range_key.to_bytes()))]
}

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

fn holder_bytes(holder: &Holder) -> AttributeValue {
    bytes([holder.source.to_bytes().as_slice(), &holder.token.to_bytes()].concat())
}

fn holder_of(item: &Item) -> Result<Holder, ItemError> {
    let wrong = || ItemError(format!("{HOLDER} must be the bytes of a source and a token hash"));
    // Nine bytes of source, and the rest is the hash of the token.
    let (source, token) = bytes_of(item, HOLDER)?.split_first_chunk::<9>().ok_or_else(wrong)?;
    Ok(Holder {
        source: Source::from_bytes(*source).ok_or_else(wrong)?,
        token: TokenHash::from_bytes(token.try_into().map_err(|_| wrong())?),
        page: optional(item, PAGE, array_of)?.map(OriginHash::from_bytes),
        token_only: optional(item, TOKEN_ONLY, bool_of)?.unwrap_or(false),
    })
}

fn signed_attributes(SignedPeer { lock, record }: &SignedPeer) -> Item {
    let Lock { key, seq, since, left_at } = lock;
    let mut attributes = HashMap::from([
        (KEY_OF_LOCK.to_owned(), bytes(key.to_bytes())),
        (SEQ.to_owned(), number(*seq)),
        (LOCKED_SINCE.to_owned(), number(since.as_millis())),
    ]);
    match left_at {
        Some(left_at) => attributes.insert(LEFT_AT.to_owned(), number(left_at.as_millis())),
        None => attributes.insert(RECORD.to_owned(), text(&**record)),
    };
    attributes
}

fn signed_of(item: &Item, key: &str) -> Result<SignedPeer, ItemError> {
    let left_at = optional(item, LEFT_AT, number_of)?.map(Timestamp::from_millis);
    let record = if left_at.is_some() { "" } else { text_of(item, RECORD)? };
    let lock = Lock {
        key: PublicKey::from_bytes(array_of(item, key)?),
        seq: number_of(item, SEQ)?,
        since: Timestamp::from_millis(number_of(item, LOCKED_SINCE)?),
        left_at,
    };
    Ok(SignedPeer { lock, record: record.into() })
}

/// Parses an attribute that some items do not have. `None` if it is missing.
fn optional<'a, T>(
    item: &'a Item,
    name: &str,
    parse: impl Fn(&'a Item, &str) -> Result<T, ItemError>,
) -> Result<Option<T>, ItemError> {
    item.contains_key(name).then(|| parse(item, name)).transpose()
}

pub(crate) fn text_of<'a>(item: &'a Item, name: &str) -> Result<&'a str, ItemError> {
    let text = item.get(name).and_then(|value| value.as_s().ok());
    text.map(String::as_str).ok_or_else(|| ItemError(format!("{name} must be a string")))
}

fn number_of<T: std::str::FromStr>(item: &Item, name: &str) -> Result<T, ItemError> {
    let value = item.get(name).and_then(|value| value.as_n().ok());
    value
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ItemError(format!("{name} must be a number in its range")))
}

fn bytes_of<'a>(item: &'a Item, name: &str) -> Result<&'a [u8], ItemError> {
    let bytes = item.get(name).and_then(|value| value.as_b().ok());
    bytes.map(Blob::as_ref).ok_or_else(|| ItemError(format!("{name} must be binary")))
}

fn bool_of(item: &Item, name: &str) -> Result<bool, ItemError> {
    let value = item.get(name).and_then(|value| value.as_bool().ok());
    value.copied().ok_or_else(|| ItemError(format!("{name} must be a boolean")))
}

fn array_of<const N: usize>(item: &Item, name: &str) -> Result<[u8; N], ItemError> {
    let bytes = bytes_of(item, name)?;
    bytes.try_into().map_err(|_| ItemError(format!("{name} must have {N} bytes")))
}

#[cfg(test)]
pub(crate) mod tests {
    use aurora_discovery_protocol::LeaseToken;
    use aurora_discovery_registry::WebOrigin;

    use super::*;

    /// The attributes that earlier releases did not write.
    const NEW: [&str; 3] = [PROVEN_AT, PAGE, TOKEN_ONLY];

    pub(crate) fn stored(id: &str, archetypes: &[&str]) -> StoredPeer {
        let registration = Registration {
            peer_id: PeerId::parse(id).unwrap(),
            address: Address::parse("192.168.1.100").unwrap().unwrap(),
            port: 9000,
            archetypes: Archetypes::parse(archetypes).unwrap(),
            metadata: Metadata::parse(r#"{ "n": 123456789012345678901234567890 }"#).unwrap(),
        };
        let holder = Holder {
            source: Source::of("203.0.113.7".parse().unwrap()),
            token: TokenHash::of(&LeaseToken::from_random([7; 16])),
            page: WebOrigin::of_header(b"https://page.example").page(),
            token_only: true,
        };
        StoredPeer {
            json: PeerJson::new(&registration),
            registration,
            expires_at: Timestamp::from_millis(1_759_406_700_123),
            last_seen: Timestamp::from_secs(1_759_406_400),
            registered_at: Timestamp::from_secs(1_759_000_000),
            ttl: Ttl::from_secs(300),
            holder,
            signed: None,
            stored_proof: Some(Timestamp::from_secs(1_759_406_500)),
            generation: Generation([9; 8]),
            markers_expire_at: 1_759_900_000,
            indexed: true,
        }
    }

    pub(crate) const SECRET: Secret = Secret::from_bytes([3; Secret::LEN]);

    #[test]
    fn a_peer_survives_encoding_and_parsing_unchanged() {
        let since = Timestamp::from_secs(1_759_000_000);
        let lock = Lock { key: PublicKey::from_bytes([5; 32]), seq: (1 << 53) - 1, since, left_at: None };
        let signed = SignedPeer { lock, record: "a.b.c".into() };
        let tombstone = signed.left(Timestamp::from_secs(1_759_406_401));
        for (indexed, signed) in [(true, None), (true, Some(signed)), (false, Some(tombstone)), (false, None)]
        {
            let peer = StoredPeer { indexed, signed, ..stored("p", &["pepino", "two words"]) };
            let item = peer.to_item(&SECRET, 1_000).unwrap();
            assert_eq!(StoredPeer::from_item(&item).unwrap(), peer);
            assert!(is_peer(&item));
        }
    }

    #[test]
    fn an_item_with_a_missing_or_malformed_attribute_is_an_error() {
        let whole = stored("p", &["a"]).to_item(&SECRET, 1_000).unwrap();
        for name in whole.keys().filter(|name| ![LANE, RING_POSITION, TIME_TO_LIVE].contains(&name.as_str()))
        {
            let mut lacking = whole.clone();
            lacking.remove(name);
            assert_eq!(StoredPeer::from_item(&lacking).is_ok(), NEW.contains(&name.as_str()), "{name}");
            let mut broken = whole.clone();
            broken.insert(name.clone(), AttributeValue::Null(true));
            assert!(StoredPeer::from_item(&broken).is_err(), "{name}");
        }
        let mut spaced = whole;
        spaced.insert(KEY.to_owned(), text(" a p"));
        assert!(StoredPeer::from_item(&spaced).is_err());
    }

    #[test]
    fn an_item_of_an_earlier_release_is_neither_token_only_nor_of_a_page_and_proven_when_last_seen() {
        let mut item = stored("p", &["a"]).to_item(&SECRET, 1_000).unwrap();
        item.retain(|name, _| !NEW.contains(&name.as_str()));
        let peer = StoredPeer::from_item(&item).unwrap();
        assert_eq!((peer.holder.token_only, peer.holder.page), (false, None));
        assert_eq!(peer.standing().proven_at, peer.last_seen);
        assert_eq!(peer.to_item(&SECRET, 1_000).unwrap(), item, "writing it again adds nothing");
    }

    #[test]
    fn the_items_of_a_typical_peer_are_far_smaller_than_a_write_unit() {
        let size = |item: &Item| -> usize {
            item.iter()
                .map(|(name, value)| {
                    name.len()
                        + match value {
                            AttributeValue::S(text) => text.len(),
                            AttributeValue::N(digits) => digits.len() / 2 + 2,
                            AttributeValue::B(bytes) => bytes.as_ref().len(),
                            _ => 0,
                        }
                })
                .sum()
        };
        let peer = stored("123e4567-e89b-12d3-a456-426614174000", &["pepino", "ethics"]);
        assert!(size(&peer.to_item(&SECRET, 1_000).unwrap()) < 450);
        assert!(peer.markers(&SECRET, true).iter().all(|marker| size(marker) < 110));
    }
}
