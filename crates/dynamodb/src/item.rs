//! How peers lie in the table: the only file that knows an attribute's name.
//!
//! Names and values are short because a read is billed by what it passes over. Every name goes into expressions by an alias, since
//! DynamoDB reserves words (`ttl` is one).

use std::collections::HashMap;

use aurora_protocol::{
    Address, Archetype, Archetypes, Metadata, PeerId, PeerJson, Registration, Timestamp, Ttl,
};
use aurora_registry::{Holder, Source, TokenHash};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use crate::lane::{Family, Place, Secret};

/// An item as the SDK passes it on.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// The table's key: a peer's id, or (with a space in front, which no id has) the name of another kind of item.
pub(crate) const KEY: &str = "peer_id";
/// The index's hash key: one lane of a family.
pub(crate) const LANE: &str = "lane";
/// The index's range key: the place on the ring, eight bytes.
pub(crate) const PLACE: &str = "h";
/// When the service may delete the item, in seconds since the epoch.
pub(crate) const TIME_TO_LIVE: &str = "ttl";
const REGISTRATION: &str = "reg";
const EXPIRES_AT: &str = "expires_at";
const LAST_SEEN: &str = "seen";
const REGISTERED_AT: &str = "since";
const LEASE_SECONDS: &str = "lease";
const HOLDER: &str = "holder";
const GENERATION: &str = "gen";
const MARKED_UNTIL: &str = "marked";
const SECRET: &str = "secret";

/// The key of the item that holds the table's secret. A marker's key has two spaces, this one has one.
const TABLE_KEY: &str = " table";

/// What a marker outlives its peer's item by, in seconds, so that heartbeats rarely have to renew it: two days.
const MARKER_SLACK_SECONDS: u64 = 2 * 86_400;

/// Tells one registration of a peer from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) [u8; 8]);

/// A peer as the table keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) registration: Registration,
    pub(crate) json: PeerJson,
    pub(crate) expires_at: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) registered_at: Timestamp,
    pub(crate) ttl: Ttl,
    pub(crate) holder: Holder,
    pub(crate) generation: Generation,
    /// Until when its markers stand, in seconds since the epoch.
    pub(crate) marked_until: u64,
    /// Whether the index lists it; a peer that was dormant for long is taken off until it comes back.
    pub(crate) listed: bool,
}

/// Why an item can't be read as what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

/// What of a registration the item's key does not say.
#[derive(Serialize)]
struct Body<'a> {
    address: &'a Address,
    port: u16,
    archetypes: &'a Archetypes,
    metadata: &'a Metadata,
}

#[derive(Deserialize)]
struct ReadBody {
    address: Address,
    port: u16,
    archetypes: Archetypes,
    metadata: Metadata,
}

impl Stored {
    pub(crate) fn is_live(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// Whether a heartbeat still revives it, or it is live.
    pub(crate) fn is_known(&self, now: Timestamp, revival_window_millis: u64) -> bool {
        now < self.expires_at.plus_millis(revival_window_millis)
    }

    pub(crate) fn archetypes(&self) -> &[Archetype] {
        self.registration.archetypes.as_slice()
    }

    /// Whether it carries any of these, or none is asked for.
    pub(crate) fn carries(&self, archetypes: &[Archetype]) -> bool {
        archetypes.is_empty() || archetypes.iter().any(|archetype| self.archetypes().contains(archetype))
    }

    /// The item of this peer.
    pub(crate) fn to_item(&self, secret: &Secret, revival_window_millis: u64) -> Result<Item, Unreadable> {
        let Registration { peer_id, address, port, archetypes, metadata } = &self.registration;
        let body = serde_json::to_string(&Body { address, port: *port, archetypes, metadata })
            .map_err(|error| Unreadable(format!("a registration can't be written: {error}")))?;
        let mut item = HashMap::from([
            (KEY.to_owned(), text(peer_id.as_str())),
            (REGISTRATION.to_owned(), text(body)),
            (EXPIRES_AT.to_owned(), number(self.expires_at.as_millis())),
            (LAST_SEEN.to_owned(), number(self.last_seen.as_millis())),
            (REGISTERED_AT.to_owned(), number(self.registered_at.as_millis())),
            (LEASE_SECONDS.to_owned(), number(self.ttl.as_secs().into())),
            (HOLDER.to_owned(), holder_bytes(&self.holder)),
            (GENERATION.to_owned(), bytes(self.generation.0)),
            (MARKED_UNTIL.to_owned(), number(self.marked_until)),
            (TIME_TO_LIVE.to_owned(), number(forgotten_at(self.expires_at, revival_window_millis))),
        ]);
        if self.listed {
            item.extend(index_keys(&Family::All, secret.place(peer_id)));
        }
        Ok(item)
    }

    /// Reads an item back; everything is parsed anew, so that nothing stored can break a read.
    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let ReadBody { address, port, archetypes, metadata } =
            serde_json::from_str(text_of(item, REGISTRATION)?)
                .map_err(|error| Unreadable(format!("{REGISTRATION} is no registration: {error}")))?;
        let peer_id =
            PeerId::parse(text_of(item, KEY)?).map_err(|rule| Unreadable(format!("{KEY} {rule}")))?;
        let registration = Registration { peer_id, address, port, archetypes, metadata };
        Ok(Self {
            json: PeerJson::new(&registration),
            registration,
            expires_at: Timestamp::from_millis(number_of(item, EXPIRES_AT)?),
            last_seen: Timestamp::from_millis(number_of(item, LAST_SEEN)?),
            registered_at: Timestamp::from_millis(number_of(item, REGISTERED_AT)?),
            ttl: Ttl::from_secs(number_of(item, LEASE_SECONDS)?),
            holder: holder_of(bytes_of(item, HOLDER)?)?,
            generation: Generation(array_of(item, GENERATION)?),
            marked_until: number_of(item, MARKED_UNTIL)?,
            listed: item.contains_key(LANE),
        })
    }

    /// The markers of this peer, one for each archetype.
    pub(crate) fn markers(&self, secret: &Secret) -> Vec<Item> {
        let peer = &self.registration.peer_id;
        let place = secret.place(peer);
        self.archetypes()
            .iter()
            .map(|archetype| {
                let mut item = marker_key(archetype, peer);
                item.extend(index_keys(&Family::Carrying(archetype.clone()), place));
                item.insert(GENERATION.to_owned(), bytes(self.generation.0));
                item.insert(TIME_TO_LIVE.to_owned(), number(self.marked_until));
                item
            })
            .collect()
    }
}

/// Until when new markers stand for a peer whose lease ends at `expires_at`, in seconds since the epoch.
pub(crate) fn marked_until(expires_at: Timestamp, revival_window_millis: u64) -> u64 {
    forgotten_at(expires_at, revival_window_millis) + MARKER_SLACK_SECONDS
}

/// When the service may delete a peer's item, in seconds since the epoch.
pub(crate) fn forgotten_at(expires_at: Timestamp, revival_window_millis: u64) -> u64 {
    // Rounded up: the item must not go before its last millisecond.
    expires_at.plus_millis(revival_window_millis).as_secs() + 1
}

/// The key of a peer's item.
pub(crate) fn peer_key(peer: &PeerId) -> Item {
    key(peer.as_str())
}

/// The text of an item's key.
pub(crate) fn key_of(item: &Item) -> Option<&str> {
    item.get(KEY)?.as_s().ok().map(String::as_str)
}

/// The key of the marker of one archetype of a peer.
pub(crate) fn marker_key(archetype: &Archetype, peer: &PeerId) -> Item {
    key(&format!(" {archetype} {peer}"))
}

/// The peer that a key of the index stands for; an archetype may hold spaces, an id may not.
pub(crate) fn indexed(item: &Item) -> Result<(Place, PeerId), Unreadable> {
    let key = text_of(item, KEY)?;
    let id = key.rsplit(' ').next().unwrap_or(key);
    let peer = PeerId::parse(id).map_err(|rule| Unreadable(format!("{KEY} {rule}")))?;
    Ok((Place(u64::from_be_bytes(array_of(item, PLACE)?)), peer))
}

/// Whether an item is a peer's, not a marker and not the table's own.
pub(crate) fn is_peer(item: &Item) -> bool {
    text_of(item, KEY).is_ok_and(|key| !key.starts_with(' '))
}

/// The key of the item that holds the table's secret.
pub(crate) fn table_key() -> Item {
    key(TABLE_KEY)
}

/// The item that holds the table's secret.
pub(crate) fn secret_item(secret: &Secret) -> Item {
    let mut item = table_key();
    item.insert(SECRET.to_owned(), bytes(*secret.as_bytes()));
    item
}

/// Reads the table's secret.
pub(crate) fn secret_of(item: &Item) -> Result<Secret, Unreadable> {
    array_of(item, SECRET).map(Secret::from_bytes)
}

/// A condition, or an update, with the names and values that it speaks of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expression {
    pub(crate) text: String,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: Item,
}

impl Expression {
    fn new(text: &str, names: &[(&str, &str)], values: Vec<(&str, AttributeValue)>) -> Self {
        Self {
            text: text.to_owned(),
            names: names.iter().map(|(alias, name)| ((*alias).to_owned(), (*name).to_owned())).collect(),
            values: values.into_iter().map(|(alias, value)| (alias.to_owned(), value)).collect(),
        }
    }

    /// Nothing stands at the key.
    pub(crate) fn absent() -> Self {
        Self::new("attribute_not_exists(#k)", &[("#k", KEY)], Vec::new())
    }

    /// The registration that was seen still stands.
    pub(crate) fn same(generation: Generation) -> Self {
        Self::new("#g = :g", &[("#g", GENERATION)], vec![(":g", bytes(generation.0))])
    }

    /// The registration that was seen still stands, and nobody renewed its lease since.
    pub(crate) fn unchanged(stored: &Stored) -> Self {
        Self::new(
            "#g = :g AND #e = :e",
            &[("#g", GENERATION), ("#e", EXPIRES_AT)],
            vec![(":g", bytes(stored.generation.0)), (":e", number(stored.expires_at.as_millis()))],
        )
    }

    /// The registration that was seen still stands, and its lease ends before `expires_at`.
    pub(crate) fn expires_before(generation: Generation, expires_at: Timestamp) -> Self {
        Self::new(
            "#g = :g AND #e < :e",
            &[("#g", GENERATION), ("#e", EXPIRES_AT)],
            vec![(":g", bytes(generation.0)), (":e", number(expires_at.as_millis()))],
        )
    }

    /// The item, which can't be read, is still the one that was seen.
    pub(crate) fn same_unreadable(item: &Item) -> Self {
        match item.get(GENERATION) {
            Some(generation) => Self::new("#g = :g", &[("#g", GENERATION)], vec![(":g", generation.clone())]),
            None => Self::new("attribute_not_exists(#g)", &[("#g", GENERATION)], Vec::new()),
        }
    }

    /// Takes over the lease of `renewed`.
    pub(crate) fn renewal(renewed: &Stored, revival_window_millis: u64) -> Self {
        Self::new(
            "SET #e = :new, #s = :seen, #t = :ttl, #m = :marked",
            &[("#e", EXPIRES_AT), ("#s", LAST_SEEN), ("#t", TIME_TO_LIVE), ("#m", MARKED_UNTIL)],
            vec![
                (":new", number(renewed.expires_at.as_millis())),
                (":seen", number(renewed.last_seen.as_millis())),
                (":ttl", number(forgotten_at(renewed.expires_at, revival_window_millis))),
                (":marked", number(renewed.marked_until)),
            ],
        )
    }

    /// Takes a peer's item off the index, as a new generation, so that a renewal that saw it listed fails.
    pub(crate) fn unlisting(generation: Generation) -> Self {
        Self::new(
            "SET #g = :next REMOVE #l, #p",
            &[("#g", GENERATION), ("#l", LANE), ("#p", PLACE)],
            vec![(":next", bytes(generation.0))],
        )
    }

    /// One lane of a family, from one place to another, both included.
    pub(crate) fn window(lane_key: String, from: Place, to: Place) -> Self {
        Self::new(
            "#l = :l AND #p BETWEEN :from AND :to",
            &[("#l", LANE), ("#p", PLACE)],
            vec![(":l", text(lane_key)), (":from", bytes(from.to_bytes())), (":to", bytes(to.to_bytes()))],
        )
    }
}

fn key(text_of_key: &str) -> Item {
    HashMap::from([(KEY.to_owned(), text(text_of_key))])
}

fn index_keys(family: &Family, place: Place) -> [(String, AttributeValue); 2] {
    let lane = family.lane_key(place.lane());
    [(LANE.to_owned(), text(lane)), (PLACE.to_owned(), bytes(place.to_bytes()))]
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn bytes(value: impl Into<Vec<u8>>) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

fn holder_bytes(holder: &Holder) -> AttributeValue {
    bytes([holder.source.to_bytes().as_slice(), &holder.token.to_bytes()].concat())
}

fn holder_of(bytes: &[u8]) -> Result<Holder, Unreadable> {
    let wrong = || Unreadable(format!("{HOLDER} is no source and token"));
    let (source, token) = bytes.split_first_chunk::<9>().ok_or_else(wrong)?;
    Ok(Holder {
        source: Source::from_bytes(*source).ok_or_else(wrong)?,
        token: TokenHash::from_bytes(token.try_into().map_err(|_| wrong())?),
    })
}

fn text_of<'a>(item: &'a Item, name: &str) -> Result<&'a str, Unreadable> {
    let text = item.get(name).and_then(|value| value.as_s().ok());
    text.map(String::as_str).ok_or_else(|| Unreadable(format!("{name} is no string")))
}

fn number_of<T: std::str::FromStr>(item: &Item, name: &str) -> Result<T, Unreadable> {
    let value = item.get(name).and_then(|value| value.as_n().ok());
    value.and_then(|text| text.parse().ok()).ok_or_else(|| Unreadable(format!("{name} is no such number")))
}

fn bytes_of<'a>(item: &'a Item, name: &str) -> Result<&'a [u8], Unreadable> {
    let bytes = item.get(name).and_then(|value| value.as_b().ok());
    bytes.map(Blob::as_ref).ok_or_else(|| Unreadable(format!("{name} is no bytes")))
}

fn array_of<const N: usize>(item: &Item, name: &str) -> Result<[u8; N], Unreadable> {
    let bytes = bytes_of(item, name)?;
    bytes.try_into().map_err(|_| Unreadable(format!("{name} does not have {N} bytes")))
}

#[cfg(test)]
mod tests {
    use aurora_protocol::LeaseToken;

    use super::*;

    fn stored(id: &str, archetypes: &[&str]) -> Stored {
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
        };
        Stored {
            json: PeerJson::new(&registration),
            registration,
            expires_at: Timestamp::from_millis(1_759_406_700_123),
            last_seen: Timestamp::from_secs(1_759_406_400),
            registered_at: Timestamp::from_secs(1_759_000_000),
            ttl: Ttl::from_secs(300),
            holder,
            generation: Generation([9; 8]),
            marked_until: 1_759_900_000,
            listed: true,
        }
    }

    const SECRET: Secret = Secret::from_bytes([3; Secret::LEN]);

    #[test]
    fn a_peer_reads_back_as_it_was_stored() {
        for listed in [true, false] {
            let peer = Stored { listed, ..stored("p", &["pepino", "two words"]) };
            let item = peer.to_item(&SECRET, 1_000).unwrap();
            assert_eq!(Stored::from_item(&item).unwrap(), peer);
            assert!(is_peer(&item));
        }
    }

    #[test]
    fn an_item_that_lacks_or_breaks_anything_is_unreadable() {
        let whole = stored("p", &["a"]).to_item(&SECRET, 1_000).unwrap();
        for name in whole.keys().filter(|name| ![LANE, PLACE, TIME_TO_LIVE].contains(&name.as_str())) {
            let mut lacking = whole.clone();
            lacking.remove(name);
            assert!(Stored::from_item(&lacking).is_err(), "{name}");
            let mut broken = whole.clone();
            broken.insert(name.clone(), AttributeValue::Bool(true));
            assert!(Stored::from_item(&broken).is_err(), "{name}");
        }
        let mut spaced = whole;
        spaced.insert(KEY.to_owned(), text(" a p"));
        assert!(Stored::from_item(&spaced).is_err());
    }

    #[test]
    fn a_marker_names_its_peer_whatever_the_archetype_holds() {
        let peer = stored("p", &["two words", "#0", "é"]);
        let place = SECRET.place(&peer.registration.peer_id);
        for marker in peer.markers(&SECRET) {
            assert_eq!(indexed(&marker).unwrap(), (place, peer.registration.peer_id.clone()));
            assert!(!is_peer(&marker));
        }
        assert_eq!(indexed(&peer.to_item(&SECRET, 1_000).unwrap()).unwrap().0, place);
    }

    #[test]
    fn a_seed_like_peer_and_its_markers_stay_far_below_a_write_unit() {
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
        assert!(peer.markers(&SECRET).iter().all(|marker| size(marker) < 110));
    }
}
