//! Heartbeats for many peers in one call, for hosts that run many agents.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::{Object, strings};
use crate::request::{discover, peer_id};
use crate::response::page;
use crate::{
    Code, DiscoverBounds, DiscoverRequest, DiscoveredPage, HeartbeatRequest, Invalid, PageFigures, PeerId,
    Refusal, Timestamp, Ttl,
};

/// A call of `/heartbeat`: for one peer, or for many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// The body names a `peer_id`.
    One(HeartbeatRequest),
    /// The body names `peer_ids`.
    Many(HeartbeatsRequest),
}

impl Heartbeat {
    /// Reads a body. `bounds` are those of the `discover` key.
    ///
    /// # Errors
    /// A [`Refusal`] that names the key and the rule it breaks.
    pub fn from_body(body: &[u8], bounds: DiscoverBounds) -> Result<Self, Refusal> {
        let object = Object::from_body(body)?;
        let Some(peer_ids) = object.optional("peer_ids", PeerIds::from_raw)? else {
            let peer_id = object.required("peer_id", peer_id)?;
            return Ok(Self::One(HeartbeatRequest { peer_id, discover: discover(&object, bounds)? }));
        };
        if object.raw("peer_id").is_some() {
            let rule = Invalid::rule("must not come with peer_id: a heartbeat is for one peer or for many");
            return Err(rule.in_field("peer_ids"));
        }
        Ok(Self::Many(HeartbeatsRequest { peer_ids, discover: discover(&object, bounds)? }))
    }
}

/// The body of `/heartbeat` for many peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeartbeatsRequest {
    /// The peers whose leases are renewed.
    pub peer_ids: PeerIds,
    /// Peers that the caller wants to hear of in the same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverRequest>,
}

/// From 1 to 100 ids, each once, in the order in which they were first written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PeerIds(Vec<PeerId>);

impl PeerIds {
    /// Most ids in one call: as many of the longest fit a request's body, and one batch of DynamoDB reads as many.
    pub const MAX_COUNT: usize = 100;

    /// The ids as they were written; one that is repeated is kept once.
    ///
    /// # Errors
    /// [`Invalid`] if there are none or too many, repeated ones included, or one is no id.
    pub fn parse<T: AsRef<str>>(ids: &[T]) -> Result<Self, Invalid> {
        if !(1..=Self::MAX_COUNT).contains(&ids.len()) {
            return Err(Invalid::rule("must be a list of 1 to 100 ids"));
        }
        let mut distinct = Vec::with_capacity(ids.len());
        for id in ids {
            let rule =
                |_| Invalid::rule("must hold ids of 1 to 128 visible ASCII characters, without spaces");
            let id = PeerId::parse(id.as_ref()).map_err(rule)?;
            if !distinct.contains(&id) {
                distinct.push(id);
            }
        }
        Ok(Self(distinct))
    }

    /// The ids.
    pub fn as_slice(&self) -> &[PeerId] {
        &self.0
    }

    fn from_raw(value: &RawValue) -> Result<Self, Invalid> {
        Self::parse(&strings(value)?)
    }
}

/// The answer to `/heartbeat` for many peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatsResponse<P = DiscoveredPage> {
    /// "Heartbeats updated".
    pub message: String,
    /// When the leases were renewed.
    pub timestamp: Timestamp,
    /// How many were.
    pub renewed: usize,
    /// What became of each, in the order in which they were asked for.
    pub results: Vec<HeartbeatResult>,
    /// The page that was asked for along the way.
    #[serde(flatten)]
    pub page: Option<P>,
}

/// What became of one heartbeat of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeartbeatResult {
    /// The lease was renewed.
    Renewed {
        /// The peer.
        peer_id: PeerId,
        /// Until when the lease lasts at least.
        ttl_expires: Timestamp,
        /// The lease's length, in seconds.
        ttl_seconds: Ttl,
        /// When the service wants the next heartbeat, in seconds.
        heartbeat_interval_seconds: u32,
    },
    /// It was not.
    Refused {
        /// The peer.
        peer_id: PeerId,
        /// One sentence a person can act on.
        error: String,
        /// The contract's code: `peer_not_registered`, or what kept the store from it.
        code: Code,
    },
}

impl HeartbeatsResponse {
    /// Reads an answer to `/heartbeat` for many peers.
    ///
    /// # Errors
    /// As `serde_json` reports them.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let read: HeartbeatsResponse<PageFigures> = serde_json::from_slice(body)?;
        Ok(Self {
            message: read.message,
            timestamp: read.timestamp,
            renewed: read.renewed,
            results: read.results,
            page: page(read.page, body)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: DiscoverBounds = DiscoverBounds { default: 20, max: 100 };

    fn read(body: &str) -> Result<Heartbeat, Refusal> {
        Heartbeat::from_body(body.as_bytes(), BOUNDS)
    }

    #[test]
    fn a_heartbeat_is_for_one_peer_or_for_many() {
        assert!(matches!(read(r#"{"peer_id":"a"}"#), Ok(Heartbeat::One(_))));
        assert!(matches!(read(r#"{"peer_id":"a","peer_ids":null}"#), Ok(Heartbeat::One(_))));
        let Ok(Heartbeat::Many(many)) = read(r#"{"peer_ids":["b","a","b"],"peer_id":null,"discover":{}}"#)
        else {
            panic!("many ids are read")
        };
        assert_eq!(many.peer_ids.as_slice().iter().map(PeerId::as_str).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(read(&serde_json::to_string(&many).unwrap()), Ok(Heartbeat::Many(many)));
    }

    #[test]
    fn a_list_of_ids_that_breaks_its_rule_is_named() {
        let many = |count: usize| serde_json::to_string(&vec!["a"; count]).unwrap();
        assert!(read(&format!(r#"{{"peer_ids":{}}}"#, many(100))).is_ok());
        for ids in ["[]", "\"a\"", "[1]", "[\"a b\"]", "{}", &many(101)] {
            let refusal = read(&format!(r#"{{"peer_ids":{ids}}}"#)).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.field.as_deref()),
                (Code::InvalidField, Some("peer_ids")),
                "{ids}"
            );
            assert!(refusal.message.starts_with("peer_ids must "), "{refusal}");
        }
        let both = read(r#"{"peer_id":"a","peer_ids":["b"]}"#).unwrap_err();
        assert_eq!(both.field.as_deref(), Some("peer_ids"));
        assert!(both.message.contains("peer_id:"), "{both}");
    }

    #[test]
    fn as_many_of_the_longest_ids_as_may_be_fit_a_body() {
        let ids: Vec<_> = (0..PeerIds::MAX_COUNT).map(|n| format!("{n:~>128}")).collect();
        let request = HeartbeatsRequest { peer_ids: PeerIds::parse(&ids).unwrap(), discover: None };
        assert!(serde_json::to_string(&request).unwrap().len() < crate::MAX_BODY_BYTES);
    }

    #[test]
    fn what_became_of_each_is_read_as_it_was_written() {
        let body = r#"{"peers":[],"message":"Heartbeats updated","timestamp":"2025-10-02T12:00:00","renewed":1,"results":[{"peer_id":"a","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100},{"peer_id":"b","error":"no","code":"peer_not_registered"}],"count":0,"total":0}"#;
        let read = HeartbeatsResponse::from_body(body.as_bytes()).unwrap();
        assert!(matches!(read.results[0], HeartbeatResult::Renewed { .. }));
        assert!(matches!(read.results[1], HeartbeatResult::Refused { code: Code::PeerNotRegistered, .. }));
        assert!(read.page.is_some());
        let written: serde_json::Value = serde_json::to_value(&read).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(body).unwrap());
    }
}
