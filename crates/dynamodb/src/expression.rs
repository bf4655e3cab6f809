//! The conditions and updates of writes, and the key conditions of queries.
//!
//! The doc comment of a method that returns a condition is the statement that must be true. If it
//! is false, DynamoDB refuses the write.

use std::collections::HashMap;

use aurora_discovery_protocol::Timestamp;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::item::{
    EXPIRES_AT, GENERATION, Generation, Item, KEY, LANE, LAST_SEEN, MARKERS_EXPIRE_AT, PROVEN_AT,
    RING_POSITION, StoredPeer, TIME_TO_LIVE, VERSION, bytes, number, text,
};
use crate::lane::RingPosition;

/// A condition or an update, with the names and values that it refers to.
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

    /// There is no item with this key.
    pub(crate) fn absent() -> Self {
        Self::new("attribute_not_exists(#k)", &[("#k", KEY)], Vec::new())
    }

    /// The item still has this generation.
    pub(crate) fn same_generation(generation: Generation) -> Self {
        Self::new("#g = :g", &[("#g", GENERATION)], vec![(":g", bytes(generation.0))])
    }

    /// The list of blocks still has this version.
    pub(crate) fn same_version(version: u64) -> Self {
        Self::new("#n = :n", &[("#n", VERSION)], vec![(":n", number(version))])
    }

    /// The peer is still as it was read: the same registration, the same end of the lease and the
    /// same proof.
    pub(crate) fn unchanged(stored: &StoredPeer) -> Self {
        let (proof, proven_at) = match stored.stored_proof {
            Some(proven_at) => ("#v = :v", vec![(":v", number(proven_at.as_millis()))]),
            None => ("attribute_not_exists(#v)", Vec::new()),
        };
        let lease = vec![(":g", bytes(stored.generation.0)), (":e", number(stored.expires_at.as_millis()))];
        Self::new(
            &format!("#g = :g AND #e = :e AND {proof}"),
            &[("#g", GENERATION), ("#e", EXPIRES_AT), ("#v", PROVEN_AT)],
            lease.into_iter().chain(proven_at).collect(),
        )
    }

    /// The registration is still the one that was read, and its lease does not end later than that
    /// of `renewed`. With `proven`, its proof is not newer than that of `renewed` either.
    pub(crate) fn not_newer_than(renewed: &StoredPeer, proven: bool) -> Self {
        let mut condition = Self::new(
            "#g = :g AND #e <= :e",
            &[("#g", GENERATION), ("#e", EXPIRES_AT)],
            vec![(":g", bytes(renewed.generation.0)), (":e", number(renewed.expires_at.as_millis()))],
        );
        if let Some(proven_at) = renewed.stored_proof.filter(|_| proven) {
            condition.append(" AND (attribute_not_exists(#v) OR #v <= :v)", PROVEN_AT, proven_at);
        }
        condition
    }

    /// The item, which cannot be parsed, still has the generation that was read, or still has none.
    pub(crate) fn same_unreadable(item: &Item) -> Self {
        match item.get(GENERATION) {
            Some(generation) => Self::new("#g = :g", &[("#g", GENERATION)], vec![(":g", generation.clone())]),
            None => Self::new("attribute_not_exists(#g)", &[("#g", GENERATION)], Vec::new()),
        }
    }

    /// An update that sets the lease to that of `renewed`, and with `proven` also the time of the
    /// proof.
    pub(crate) fn renewal(renewed: &StoredPeer, proven: bool, revival_window_millis: u64) -> Self {
        let mut update = Self::new(
            "SET #e = :e, #s = :seen, #t = :ttl, #m = :marked",
            &[("#e", EXPIRES_AT), ("#s", LAST_SEEN), ("#t", TIME_TO_LIVE), ("#m", MARKERS_EXPIRE_AT)],
            vec![
                (":e", number(renewed.expires_at.as_millis())),
                (":seen", number(renewed.last_seen.as_millis())),
                (":ttl", number(renewed.deletable_at(revival_window_millis))),
                (":marked", number(renewed.markers_expire_at)),
            ],
        );
        if let Some(proven_at) = renewed.stored_proof.filter(|_| proven) {
            update.append(", #v = :v", PROVEN_AT, proven_at);
        }
        update
    }

    /// An update that removes a peer's item from the index. It also changes the generation. A
    /// concurrent renewal that read the peer before this update is then refused.
    pub(crate) fn remove_from_index(generation: Generation) -> Self {
        Self::new(
            "SET #g = :next REMOVE #l, #p",
            &[("#g", GENERATION), ("#l", LANE), ("#p", RING_POSITION)],
            vec![(":next", bytes(generation.0))],
        )
    }

    /// An update that changes the generation of a marker. It is used with the condition
    /// [`Expression::same_generation`], whose alias `:g` has the previous generation. An update and
    /// its condition share one set of aliases, so this one uses `:next`.
    pub(crate) fn set_generation(generation: Generation) -> Self {
        Self::new("SET #g = :next", &[("#g", GENERATION)], vec![(":next", bytes(generation.0))])
    }

    /// The key condition of a query for a range of one lane, with both ends included.
    pub(crate) fn window(lane_key: String, from: RingPosition, to: RingPosition) -> Self {
        Self::new(
            "#l = :l AND #p BETWEEN :from AND :to",
            &[("#l", LANE), ("#p", RING_POSITION)],
            vec![(":l", text(lane_key)), (":from", bytes(from.to_bytes())), (":to", bytes(to.to_bytes()))],
        )
    }

    /// Appends a term with the aliases `#v`, for the attribute `name`, and `:v`, for the value
    /// `time`.
    fn append(&mut self, text: &str, name: &str, time: Timestamp) {
        self.text.push_str(text);
        self.names.insert("#v".to_owned(), name.to_owned());
        self.values.insert(":v".to_owned(), number(time.as_millis()));
    }
}
