//! Heartbeats for many peers in one request, for hosts that run many agents.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::{Object, strings};
use crate::request::{discover, peer_id};
use crate::response::Body;
use crate::{
    Code, DiscoverBounds, DiscoverRequest, DiscoveredPage, HeartbeatRequest, Invalid, PageFigures, PeerId,
    Refusal, Timestamp, Ttl,
};

/// The body of a `/heartbeat` request, for one peer or for many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// The body has the key `peer_id`.
    One(HeartbeatRequest),
    /// The body has the key `peer_ids`.
    Many(HeartbeatsRequest),
}

impl Heartbeat {
    /// Reads a body. `bounds` apply to the `discover` key.
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
    /// The peers whose leases to renew.
    pub peer_ids: PeerIds,
    /// A request for peers to list in the same response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverRequest>,
}

/// From 1 to 100 ids without duplicates, in the order in which the caller wrote them first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PeerIds(Vec<PeerId>);

impl PeerIds {
    /// The maximum number of ids in one request. A hundred ids of maximum length fit into one body,
    /// and one batch read of DynamoDB is limited to a hundred.
    pub const MAX_COUNT: usize = 100;

    /// Parses the ids and drops duplicates.
    ///
    /// # Errors
    /// [`Invalid`] if there are none, if there are too many including duplicates, or if one is not
    /// a valid id.
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

/// The response to `/heartbeat` for many peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatsResponse<P = DiscoveredPage> {
    /// "Heartbeats updated".
    pub message: String,
    /// The time at which the leases were renewed.
    pub timestamp: Timestamp,
    /// The number of renewed leases.
    pub renewed: usize,
    /// The result for each peer, in the order of the request.
    pub results: Vec<HeartbeatResult>,
    /// The page for the `discover` key of the request.
    #[serde(flatten)]
    pub page: Option<P>,
}

/// The result of one heartbeat in a request for many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeartbeatResult {
    /// The lease was renewed.
    Renewed {
        /// The peer.
        peer_id: PeerId,
        /// A time until which the lease runs at least.
        ttl_expires: Timestamp,
        /// The duration of the lease, in seconds.
        ttl_seconds: Ttl,
        /// The requested time until the next heartbeat, in seconds.
        heartbeat_interval_seconds: u32,
    },
    /// The lease was not renewed.
    Refused {
        /// The peer.
        peer_id: PeerId,
        /// One sentence that a person can act on.
        error: String,
        /// The error code: `peer_not_registered`, or the reason why the store failed.
        code: Code,
    },
}

impl HeartbeatsResponse {
    /// Parses the body of a response to `/heartbeat` for many peers.
    ///
    /// # Errors
    /// The errors of `serde_json`.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body = Body::split(body)?;
        let read: HeartbeatsResponse<PageFigures> = body.read()?;
        Ok(Self {
            message: read.message,
            timestamp: read.timestamp,
            renewed: read.renewed,
            results: read.results,
            page: body.page(read.page),
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
