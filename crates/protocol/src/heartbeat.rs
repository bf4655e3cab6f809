//! Heartbeats for many peers in one request, for hosts that run many agents.

use std::net::IpAddr;

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::mail::acknowledged;
use crate::object::{Object, boolean, string};
use crate::request::{discover, lease_token, peer_id};
use crate::response::{Body, address_if_valid};
use crate::{
    Code, DiscoverBounds, DiscoverRequest, DiscoveredPage, HeartbeatRequest, Invalid, LeaseToken, PageInfo,
    PeerId, Refusal, Timestamp, Ttl,
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
        let Some(peer_ids) = object.optional("peer_ids", HeartbeatEntries::from_raw)? else {
            let peer_id = object.required("peer_id", peer_id)?;
            let (lease_token, discover) = (lease_token(&object)?, discover(&object, bounds)?);
            let mail = object.optional("mail", boolean)?.unwrap_or(false);
            // Without `mail`, the key `acknowledge` is ignored: older clients may send a key of
            // this name with another meaning.
            let acknowledge = if mail { acknowledged(&object)? } else { Vec::new() };
            return Ok(Self::One(HeartbeatRequest { peer_id, lease_token, mail, acknowledge, discover }));
        };
        if object.raw("peer_id").is_some() {
            let rule = Invalid::rule(
                "must not be combined with peer_id: a heartbeat names one peer or a list of peers",
            );
            return Err(rule.in_field("peer_ids"));
        }
        Ok(Self::Many(HeartbeatsRequest { peer_ids, discover: discover(&object, bounds)? }))
    }
}

/// The body of `/heartbeat` for many peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeartbeatsRequest {
    /// The peers whose leases to renew.
    pub peer_ids: HeartbeatEntries,
    /// A request for peers to list in the same response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discover: Option<DiscoverRequest>,
}

/// From 1 to 100 peers without duplicates, in the order in which they first occur in the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HeartbeatEntries(Vec<HeartbeatEntry>);

/// One peer in a request for many. On the wire it is an id, or an object with an id and a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatEntry {
    /// The peer whose lease to renew.
    pub peer_id: PeerId,
    /// The lease token, which proves that the caller is the holder.
    pub lease_token: Option<LeaseToken>,
}

impl HeartbeatEntries {
    /// The maximum number of peers in one request. A hundred ids of maximum length fit into one
    /// body, and one batch read of DynamoDB is limited to a hundred.
    pub const MAX_COUNT: usize = 100;

    /// Checks the number of entries and drops those that repeat a peer.
    ///
    /// # Errors
    /// [`Invalid`] if there are none, or if there are too many including duplicates.
    pub fn new(entries: Vec<HeartbeatEntry>) -> Result<Self, Invalid> {
        if !(1..=Self::MAX_COUNT).contains(&entries.len()) {
            return Err(Invalid::rule("must be a list of 1 to 100 peers"));
        }
        let mut distinct: Vec<HeartbeatEntry> = Vec::with_capacity(entries.len());
        for entry in entries {
            match distinct.iter_mut().find(|other| other.peer_id == entry.peer_id) {
                None => distinct.push(entry),
                // If a peer is repeated, its first entry stays, with the first token that any of
                // its entries has.
                Some(first) => first.lease_token = first.lease_token.take().or(entry.lease_token),
            }
        }
        Ok(Self(distinct))
    }

    /// Parses ids without tokens and drops duplicates.
    ///
    /// # Errors
    /// [`Invalid`] as from [`HeartbeatEntries::new`], or if one is not a valid id.
    pub fn parse<T: AsRef<str>>(ids: &[T]) -> Result<Self, Invalid> {
        let entry = |id: &T| PeerId::parse(id.as_ref()).map(HeartbeatEntry::from);
        Self::new(ids.iter().map(entry).collect::<Result<_, _>>()?)
    }

    /// The entries.
    pub fn as_slice(&self) -> &[HeartbeatEntry] {
        &self.0
    }

    fn from_raw(value: &RawValue) -> Result<Self, Invalid> {
        let entries: Vec<&RawValue> =
            serde_json::from_str(value.get()).map_err(|_| Invalid::rule("must be a list"))?;
        // A list that is too long is refused before its entries are parsed. `new` refuses an empty
        // list by the same rule, so it supplies the refusal.
        if entries.len() > Self::MAX_COUNT {
            return Self::new(Vec::new());
        }
        Self::new(entries.into_iter().map(HeartbeatEntry::from_raw).collect::<Result<_, _>>()?)
    }
}

impl HeartbeatEntry {
    fn from_raw(value: &RawValue) -> Result<Self, Invalid> {
        const RULE: Invalid = Invalid::rule(
            "must contain ids of 1 to 128 visible ASCII characters, or objects with peer_id and lease_token",
        );
        if !value.get().starts_with('{') {
            let peer_id = PeerId::parse(&string(value).map_err(|_| RULE)?).map_err(|_| RULE)?;
            return Ok(Self { peer_id, lease_token: None });
        }
        let read = || {
            let object = Object::nested(value, "peer_ids.")?;
            let peer_id = object.required("peer_id", peer_id)?;
            Ok::<_, Refusal>(Self { peer_id, lease_token: lease_token(&object)? })
        };
        read().map_err(|_| RULE)
    }
}

impl From<PeerId> for HeartbeatEntry {
    fn from(peer_id: PeerId) -> Self {
        Self { peer_id, lease_token: None }
    }
}

impl Serialize for HeartbeatEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(token) = &self.lease_token else { return self.peer_id.serialize(serializer) };
        let mut object = serializer.serialize_struct("HeartbeatEntry", 2)?;
        object.serialize_field("peer_id", &self.peer_id)?;
        object.serialize_field("lease_token", token)?;
        object.end()
    }
}

/// The response to `/heartbeat` for many peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatsResponse<P = DiscoveredPage> {
    /// "Heartbeats updated".
    pub message: String,
    /// The time at which the leases were renewed.
    pub timestamp: Timestamp,
    /// The source address of the request. `None` from services that do not report it.
    #[serde(default, deserialize_with = "address_if_valid", skip_serializing_if = "Option::is_none")]
    pub observed_address: Option<IpAddr>,
    /// The number of renewed leases.
    pub renewed: usize,
    /// One result for each peer, in the order in which the peers first occur in the request.
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
        /// The time at which the lease ends if no request renews or ends it before. A pause of the
        /// service can make it end later.
        ttl_expires: Timestamp,
        /// The duration of the lease, in seconds.
        ttl_seconds: Ttl,
        /// The time after which the service expects the next heartbeat, in seconds.
        heartbeat_interval_seconds: u32,
    },
    /// The lease was not renewed.
    Refused {
        /// The peer.
        peer_id: PeerId,
        /// One sentence that a person can act on.
        error: String,
        /// The error code, for example `peer_not_registered`, `not_holder` or `rate_limited`.
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
        let read: HeartbeatsResponse<PageInfo> = body.read()?;
        Ok(Self {
            message: read.message,
            timestamp: read.timestamp,
            observed_address: read.observed_address,
            renewed: read.renewed,
            results: read.results,
            page: body.page(read.page),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: DiscoverBounds = DiscoverBounds::new(20, 100);

    fn read(body: &str) -> Result<Heartbeat, Refusal> {
        Heartbeat::from_body(body.as_bytes(), BOUNDS)
    }

    #[test]
    fn a_heartbeat_names_one_peer_or_many() {
        assert!(matches!(read(r#"{"peer_id":"a"}"#), Ok(Heartbeat::One(_))));
        assert!(matches!(read(r#"{"peer_id":"a","peer_ids":null}"#), Ok(Heartbeat::One(_))));
        let Ok(Heartbeat::Many(many)) = read(r#"{"peer_ids":["b","a","b"],"peer_id":null,"discover":{}}"#)
        else {
            panic!("a list of ids is a request for many peers")
        };
        let ids: Vec<_> = many.peer_ids.as_slice().iter().map(|entry| entry.peer_id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
        assert_eq!(read(&serde_json::to_string(&many).unwrap()), Ok(Heartbeat::Many(many)));
    }

    #[test]
    fn a_heartbeat_may_fetch_and_acknowledge_mail() {
        let body = r#"{"peer_id":"a","mail":true,"acknowledge":["0000000000000007"]}"#;
        let Ok(Heartbeat::One(one)) = read(body) else { panic!("one peer") };
        assert_eq!((one.mail, one.acknowledge.as_slice()), (true, &[crate::MailId::new(7)][..]));
        assert_eq!(serde_json::to_string(&one).unwrap(), body);
        let Ok(Heartbeat::One(without)) = read(r#"{"peer_id":"a","acknowledge":7}"#) else {
            panic!("one peer")
        };
        assert_eq!(without, HeartbeatRequest::new(without.peer_id.clone()), "a key without a meaning");
        for (wrong, field) in [(r#""mail":1"#, "mail"), (r#""mail":true,"acknowledge":[1]"#, "acknowledge")] {
            let refusal = read(&format!(r#"{{"peer_id":"a",{wrong}}}"#)).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(field));
        }
    }

    #[test]
    fn an_entry_may_have_a_token() {
        let body =
            r#"{"peer_ids":["a",{"peer_id":"b","lease_token":"t"},{"peer_id":"c","lease_token":null}]}"#;
        let Ok(Heartbeat::Many(many)) = read(body) else { panic!("three entries") };
        let tokens: Vec<_> =
            many.peer_ids.as_slice().iter().map(|entry| entry.lease_token.is_some()).collect();
        assert_eq!(tokens, [false, true, false]);
        assert_eq!(read(&serde_json::to_string(&many).unwrap()), Ok(Heartbeat::Many(many)));
    }

    #[test]
    fn an_invalid_list_of_ids_is_refused_by_name() {
        let many = |count: usize| serde_json::to_string(&vec!["a"; count]).unwrap();
        assert!(read(&format!(r#"{{"peer_ids":{}}}"#, many(100))).is_ok());
        for ids in [
            "[]",
            "\"a\"",
            "[1]",
            "[\"a b\"]",
            "{}",
            "[{}]",
            r#"[{"peer_id":"a","lease_token":1}]"#,
            &many(101),
        ] {
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
    fn the_maximum_number_of_the_longest_ids_fits_into_one_body() {
        let ids = (0..HeartbeatEntries::MAX_COUNT).map(|n| PeerId::parse(&format!("{n:~>128}")).unwrap());
        let peer_ids = HeartbeatEntries::new(ids.map(HeartbeatEntry::from).collect()).unwrap();
        let request = HeartbeatsRequest { peer_ids, discover: None };
        assert!(serde_json::to_string(&request).unwrap().len() < crate::MAX_BODY_BYTES);
    }

    #[test]
    fn the_results_for_many_peers_round_trip() {
        let body = r#"{"peers":[],"message":"Heartbeats updated","timestamp":"2025-10-02T12:00:00","observed_address":"203.0.113.7","renewed":1,"results":[{"peer_id":"a","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100},{"peer_id":"b","error":"no","code":"peer_not_registered"}],"count":0,"total":0}"#;
        let read = HeartbeatsResponse::from_body(body.as_bytes()).unwrap();
        assert!(matches!(read.results[0], HeartbeatResult::Renewed { .. }));
        assert!(matches!(read.results[1], HeartbeatResult::Refused { code: Code::PeerNotRegistered, .. }));
        assert!(read.page.is_some());
        let written: serde_json::Value = serde_json::to_value(&read).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(body).unwrap());
    }
}
