//! The bodies of responses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::{Code, IceServer, LeaseToken, Mail, Peer, PeerId, PeerList, PublicKey, Refusal, Timestamp, Ttl};

// A response that can carry a page is generic over the type of the page. A client uses
// `DiscoveredPage`, which has the peers themselves, and reads it with `from_body`. The service uses
// `PageInfo`, which has only the data about the list. It serializes this data, and `page_body` puts
// the list, which is already encoded, in front.

/// The response to `/register`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterResponse<P = DiscoveredPage> {
    /// "Peer registered successfully".
    pub message: String,
    /// The registered id.
    pub peer_id: PeerId,
    /// The time at which the lease ends if no request renews or ends it before. A pause of the
    /// service can make it end later.
    pub ttl_expires: Timestamp,
    /// The duration of the lease, in seconds.
    pub ttl_seconds: Ttl,
    /// The time after which the service expects the next heartbeat, in seconds.
    pub heartbeat_interval_seconds: u32,
    /// The source address of the request.
    pub observed_address: String,
    /// The lease token. A client that presents it is recognized as the holder from any address.
    /// `None` if the client of a signed registration chose the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_token: Option<LeaseToken>,
    /// The key that the registration is signed with. `None` if it is not signed, or if the service
    /// ignores signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<PublicKey>,
    /// The STUN and TURN servers with which a peer that has a mailbox finds paths to others, if the
    /// operator has configured any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_servers: Option<Vec<IceServer>>,
    /// The page for the `discover` key of the request.
    #[serde(flatten)]
    pub page: Option<P>,
}

/// The response to `/heartbeat`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatResponse<P = DiscoveredPage> {
    /// "Heartbeat updated".
    pub message: String,
    /// The peer whose lease was renewed.
    pub peer_id: PeerId,
    /// The time at which the lease was renewed.
    pub timestamp: Timestamp,
    /// The time at which the lease ends if no request renews or ends it before. A pause of the
    /// service can make it end later.
    pub ttl_expires: Timestamp,
    /// The duration of the lease, in seconds.
    pub ttl_seconds: Ttl,
    /// The time after which the service expects the next heartbeat, in seconds.
    pub heartbeat_interval_seconds: u32,
    /// The source address of the request. A peer can tell from it that its own address has changed.
    /// `None` from services that do not report it.
    #[serde(default, deserialize_with = "address_if_valid", skip_serializing_if = "Option::is_none")]
    pub observed_address: Option<IpAddr>,
    /// The messages that wait in the peer's mailbox, if the request asks for them and the peer has
    /// a mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail: Option<Vec<Mail>>,
    /// The STUN and TURN servers, as in [`RegisterResponse`]. Present only if the response contains
    /// messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ice_servers: Option<Vec<IceServer>>,
    /// The page for the `discover` key of the request.
    #[serde(flatten)]
    pub page: Option<P>,
}

/// The response to `/deregister`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeregisterResponse {
    /// "Peer deregistered".
    pub message: String,
    /// The deregistered peer.
    pub peer_id: PeerId,
}

/// The response to `/discover`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscoverResponse<P = DiscoveredPage> {
    /// The page.
    #[serde(flatten)]
    pub page: P,
    /// The time of the response.
    pub timestamp: Timestamp,
}

/// A page as a client reads it.
///
/// This type does not implement `Deserialize`, because serde's `flatten` changes metadata: it does
/// not return the text that the peer wrote, and fails on numbers that do not fit a double.
/// `from_body` of each response therefore separates the list from the other keys first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiscoveredPage {
    /// The peers.
    pub peers: Vec<Peer>,
    /// Data about the list.
    #[serde(flatten)]
    pub info: PageInfo,
}

/// The data about the list of peers in a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageInfo {
    /// The number of peers in the list.
    pub count: usize,
    /// The number of live peers that match, not counting the excluded one.
    #[serde(default)]
    pub total: u64,
    /// Whether `total` is an estimate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub total_is_estimate: bool,
    /// The position of the next page of an enumeration. `None` on the last page and in a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Reads an IP address. Any other text is read as `None`, so that it does not make the whole
/// response unreadable.
pub(crate) fn address_if_valid<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// The body of a response without its list of peers, and the list.
pub(crate) struct Body {
    rest: Vec<u8>,
    peers: Vec<Peer>,
}

impl Body {
    pub(crate) fn split(body: &[u8]) -> Result<Self, serde_json::Error> {
        // The values are kept as text, so that no number in the metadata of a peer is converted.
        let mut keys: BTreeMap<String, &RawValue> = serde_json::from_slice(body)?;
        let peers = keys.remove("peers").map(|list| serde_json::from_str(list.get())).transpose()?;
        Ok(Self { rest: serde_json::to_vec(&keys)?, peers: peers.unwrap_or_default() })
    }

    /// Reads the other keys.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.rest)
    }

    /// The page, if the other keys contained `info`, the data about the list.
    pub(crate) fn page(self, info: Option<PageInfo>) -> Option<DiscoveredPage> {
        info.map(|info| DiscoveredPage { peers: self.peers, info })
    }
}

impl RegisterResponse {
    /// Parses the body of a response to `/register`.
    ///
    /// # Errors
    /// The errors of `serde_json`.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body = Body::split(body)?;
        let read: RegisterResponse<PageInfo> = body.read()?;
        Ok(Self {
            message: read.message,
            peer_id: read.peer_id,
            ttl_expires: read.ttl_expires,
            ttl_seconds: read.ttl_seconds,
            heartbeat_interval_seconds: read.heartbeat_interval_seconds,
            observed_address: read.observed_address,
            lease_token: read.lease_token,
            signed_by: read.signed_by,
            ice_servers: read.ice_servers,
            page: body.page(read.page),
        })
    }
}

impl HeartbeatResponse {
    /// Parses the body of a response to `/heartbeat`.
    ///
    /// # Errors
    /// The errors of `serde_json`.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body = Body::split(body)?;
        let read: HeartbeatResponse<PageInfo> = body.read()?;
        Ok(Self {
            message: read.message,
            peer_id: read.peer_id,
            timestamp: read.timestamp,
            ttl_expires: read.ttl_expires,
            ttl_seconds: read.ttl_seconds,
            heartbeat_interval_seconds: read.heartbeat_interval_seconds,
            observed_address: read.observed_address,
            mail: read.mail,
            ice_servers: read.ice_servers,
            page: body.page(read.page),
        })
    }
}

impl DiscoverResponse {
    /// Parses the body of a response to `/discover`.
    ///
    /// # Errors
    /// The errors of `serde_json`.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let body = Body::split(body)?;
        let read: DiscoverResponse<PageInfo> = body.read()?;
        let page = DiscoveredPage { peers: body.peers, info: read.page };
        Ok(Self { page, timestamp: read.timestamp })
    }
}

/// Writes a response that carries a list. The list comes first, as in the original service,
/// followed by every key of `rest`. The body is valid JSON only if `rest` serializes to an object
/// with at least one key.
///
/// # Errors
/// The errors of `serde_json`.
pub fn page_body<T: Serialize>(peers: PeerList, rest: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = peers.into_open_object();
    let brace_at = body.len();
    serde_json::to_writer(&mut body, rest)?;
    // Joins the two objects: the keys of `rest` follow the list.
    body[brace_at] = b',';
    Ok(body)
}

/// The response to `/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResponse {
    /// "healthy" or "unhealthy".
    pub status: String,
    /// The reason, if the service is unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One sentence that a person can act on.
    pub error: String,
    /// The error code.
    pub code: Code,
    /// The key or parameter that caused the refusal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// With `stale_record`: the highest `seq` that the service knows of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// With `stale_signature`: the service's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// With `stale_signature`: a nonce that the client can sign instead of `iat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

impl From<Refusal> for ErrorBody {
    fn from(refusal: Refusal) -> Self {
        Self {
            error: refusal.message.into_owned(),
            code: refusal.code,
            field: refusal.field.map(String::from),
            seq: None,
            timestamp: None,
            nonce: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_with_a_page_round_trips() {
        let info =
            PageInfo { count: 0, total: 7, total_is_estimate: true, next_cursor: Some("c".to_owned()) };
        let written = DiscoverResponse { page: info.clone(), timestamp: Timestamp::from_secs(1_759_406_400) };
        let body = page_body(PeerList::default(), &written).unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"peers":[],"count":0,"total":7,"total_is_estimate":true,"next_cursor":"c","timestamp":"2025-10-02T12:00:00"}"#
        );
        let read = DiscoverResponse::from_body(&body).unwrap();
        assert_eq!(read.page, DiscoveredPage { peers: Vec::new(), info });
    }

    #[test]
    fn metadata_in_a_response_is_read_unchanged() {
        let body = r#"{"peers":[{"peer_id":"p","address":"10.0.0.1","port":1,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{ "n": 123456789012345678901234567890 }}],"count":1,"total":1,"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100}"#;
        let metadata = r#"{ "n": 123456789012345678901234567890 }"#;
        let heartbeat = HeartbeatResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!(heartbeat.page.unwrap().peers[0].metadata.as_str(), metadata);
        let discovered = DiscoverResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!(discovered.page.peers[0].metadata.as_str(), metadata);
    }

    #[test]
    fn a_number_that_fits_no_double_does_not_make_a_page_unreadable() {
        for number in ["1e999", "-1E+400", &"9".repeat(400), "0.1e-9999"] {
            let metadata = format!(r#"{{ "n" : {number} }}"#);
            let peer = |id: &str, metadata: &str| {
                format!(
                    r#"{{"peer_id":"{id}","address":"10.0.0.1","port":1,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{metadata}}}"#
                )
            };
            let page =
                format!(r#""peers":[{},{}],"count":2,"total":2"#, peer("a", "{}"), peer("b", &metadata));
            let times = r#""timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00""#;
            let lease = r#""ttl_seconds":300,"heartbeat_interval_seconds":100"#;
            let register = format!(
                r#"{{{page},"message":"m","peer_id":"p",{times},{lease},"observed_address":"10.0.0.1","lease_token":"t"}}"#
            );
            let heartbeat = format!(r#"{{{page},"message":"m","peer_id":"p",{times},{lease}}}"#);
            let discover = format!(r#"{{{page},"timestamp":"2025-10-02T12:00:00"}}"#);
            for page in [
                RegisterResponse::from_body(register.as_bytes()).unwrap().page.unwrap(),
                HeartbeatResponse::from_body(heartbeat.as_bytes()).unwrap().page.unwrap(),
                DiscoverResponse::from_body(discover.as_bytes()).unwrap().page,
            ] {
                assert_eq!(page.peers.len(), 2, "{number}");
                assert_eq!(page.peers[1].metadata.as_str(), metadata);
            }
        }
    }

    #[test]
    fn a_response_without_a_page_has_no_page_keys() {
        let body = r#"{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100}"#;
        let read = HeartbeatResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!((&read.page, &read.observed_address), (&None, &None));
        assert_eq!(serde_json::to_string(&read).unwrap(), body);
    }

    #[test]
    fn a_heartbeat_response_has_the_keys_of_the_contract_in_its_order() {
        let body = r#"{"message":"Heartbeat updated","peer_id":"uuid-or-identifier","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100,"observed_address":"203.0.113.7"}"#;
        let read = HeartbeatResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!(read.observed_address, Some(IpAddr::from([203, 0, 113, 7])));
        assert_eq!(serde_json::to_string(&read).unwrap(), body);
    }
}
