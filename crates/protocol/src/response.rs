//! The bodies that the service answers with.

use serde::{Deserialize, Serialize};

use crate::{Code, LeaseToken, Peer, PeerId, PeerList, Refusal, Timestamp, Ttl};

// Answers that may carry a page are generic in it: a client reads the peers themselves (`DiscoveredPage`, by
// `from_body`), the service writes the figures alone (`PageFigures`) and puts the list, whose bytes it keeps ready, in
// front (`with_peers`).

/// The answer to `/register`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterResponse<P = DiscoveredPage> {
    /// "Peer registered successfully".
    pub message: String,
    /// The id that was registered.
    pub peer_id: PeerId,
    /// Until when the lease lasts at least.
    pub ttl_expires: Timestamp,
    /// The lease's length, in seconds.
    pub ttl_seconds: Ttl,
    /// When the service wants the next heartbeat, in seconds.
    pub heartbeat_interval_seconds: u32,
    /// The address that the request came from.
    pub observed_address: String,
    /// What proves the holder from another address.
    pub lease_token: LeaseToken,
    /// The page that was asked for along the way.
    #[serde(flatten)]
    pub page: Option<P>,
}

/// The answer to `/heartbeat`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatResponse<P = DiscoveredPage> {
    /// "Heartbeat updated".
    pub message: String,
    /// The peer whose lease was renewed.
    pub peer_id: PeerId,
    /// When it was renewed.
    pub timestamp: Timestamp,
    /// Until when the lease lasts at least.
    pub ttl_expires: Timestamp,
    /// The lease's length, in seconds.
    pub ttl_seconds: Ttl,
    /// When the service wants the next heartbeat, in seconds.
    pub heartbeat_interval_seconds: u32,
    /// The page that was asked for along the way.
    #[serde(flatten)]
    pub page: Option<P>,
}

/// The answer to `/deregister`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeregisterResponse {
    /// "Peer deregistered".
    pub message: String,
    /// The peer that left.
    pub peer_id: PeerId,
}

/// The answer to `/discover`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiscoverResponse<P = DiscoveredPage> {
    /// The page.
    #[serde(flatten)]
    pub page: P,
    /// When the service answered.
    pub timestamp: Timestamp,
}

/// A page as a client reads it.
///
/// It has no `Deserialize`: serde's `flatten` can't carry metadata as it was written, so an answer is read in two
/// passes, by its `from_body`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DiscoveredPage {
    /// The peers.
    pub peers: Vec<Peer>,
    /// What is said about the list.
    #[serde(flatten)]
    pub figures: PageFigures,
}

/// What an answer says about its list of peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageFigures {
    /// How many peers the list holds.
    pub count: usize,
    /// How many live peers match, the excluded one left out.
    #[serde(default)]
    pub total: u64,
    /// Whether `total` is an estimate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub total_is_estimate: bool,
    /// Where an enumeration goes on; none on its last page and in a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The list of an answer, which may have none.
#[derive(Deserialize)]
struct Peers {
    #[serde(default)]
    peers: Vec<Peer>,
}

fn peers(body: &[u8]) -> Result<Vec<Peer>, serde_json::Error> {
    serde_json::from_slice::<Peers>(body).map(|list| list.peers)
}

pub(crate) fn page(
    figures: Option<PageFigures>,
    body: &[u8],
) -> Result<Option<DiscoveredPage>, serde_json::Error> {
    figures.map(|figures| Ok(DiscoveredPage { peers: peers(body)?, figures })).transpose()
}

impl RegisterResponse {
    /// Reads an answer to `/register`.
    ///
    /// # Errors
    /// As `serde_json` reports them.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let read: RegisterResponse<PageFigures> = serde_json::from_slice(body)?;
        Ok(Self {
            message: read.message,
            peer_id: read.peer_id,
            ttl_expires: read.ttl_expires,
            ttl_seconds: read.ttl_seconds,
            heartbeat_interval_seconds: read.heartbeat_interval_seconds,
            observed_address: read.observed_address,
            lease_token: read.lease_token,
            page: page(read.page, body)?,
        })
    }
}

impl HeartbeatResponse {
    /// Reads an answer to `/heartbeat`.
    ///
    /// # Errors
    /// As `serde_json` reports them.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let read: HeartbeatResponse<PageFigures> = serde_json::from_slice(body)?;
        Ok(Self {
            message: read.message,
            peer_id: read.peer_id,
            timestamp: read.timestamp,
            ttl_expires: read.ttl_expires,
            ttl_seconds: read.ttl_seconds,
            heartbeat_interval_seconds: read.heartbeat_interval_seconds,
            page: page(read.page, body)?,
        })
    }
}

impl DiscoverResponse {
    /// Reads an answer to `/discover`.
    ///
    /// # Errors
    /// As `serde_json` reports them.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        let read: DiscoverResponse<PageFigures> = serde_json::from_slice(body)?;
        let page = DiscoveredPage { peers: peers(body)?, figures: read.page };
        Ok(Self { page, timestamp: read.timestamp })
    }
}

/// Writes an answer that carries a list: the list first, as in the seed, then every key of `rest`.
///
/// # Errors
/// As `serde_json` reports them; `rest` must serialize to an object with at least one key.
pub fn with_peers<T: Serialize>(peers: PeerList, rest: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = peers.into_open_object();
    let brace_at = body.len();
    serde_json::to_writer(&mut body, rest)?;
    // The object of `rest` goes on where the list ended.
    body[brace_at] = b',';
    Ok(body)
}

/// The answer to `/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResponse {
    /// "healthy" or "unhealthy".
    pub status: String,
    /// What is wrong, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The body of every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One sentence a person can act on.
    pub error: String,
    /// The contract's code.
    pub code: Code,
    /// The key or parameter at fault, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl From<Refusal> for ErrorBody {
    fn from(refusal: Refusal) -> Self {
        Self {
            error: refusal.message.into_owned(),
            code: refusal.code,
            field: refusal.field.map(String::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_writes_a_client_reads() {
        let figures =
            PageFigures { count: 0, total: 7, total_is_estimate: true, next_cursor: Some("c".to_owned()) };
        let written =
            DiscoverResponse { page: figures.clone(), timestamp: Timestamp::from_secs(1_759_406_400) };
        let body = with_peers(PeerList::default(), &written).unwrap();
        assert_eq!(
            std::str::from_utf8(&body).unwrap(),
            r#"{"peers":[],"count":0,"total":7,"total_is_estimate":true,"next_cursor":"c","timestamp":"2025-10-02T12:00:00"}"#
        );
        let read = DiscoverResponse::from_body(&body).unwrap();
        assert_eq!(read.page, DiscoveredPage { peers: Vec::new(), figures });
    }

    #[test]
    fn a_client_reads_metadata_as_it_was_written() {
        let body = r#"{"peers":[{"peer_id":"p","address":"10.0.0.1","port":1,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{ "n": 123456789012345678901234567890 }}],"count":1,"total":1,"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100}"#;
        let metadata = r#"{ "n": 123456789012345678901234567890 }"#;
        let beat = HeartbeatResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!(beat.page.unwrap().peers[0].metadata.as_str(), metadata);
        let discovered = DiscoverResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!(discovered.page.peers[0].metadata.as_str(), metadata);
    }

    #[test]
    fn a_page_is_left_out_where_none_was_asked_for() {
        let body = r#"{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":100}"#;
        let read = HeartbeatResponse::from_body(body.as_bytes()).unwrap();
        assert_eq!(read.page, None);
        assert_eq!(serde_json::to_string(&read).unwrap(), body);
    }
}
