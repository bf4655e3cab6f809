//! Requests for the changes since an earlier response, and their responses. Clients that already
//! know the network use them instead of listing all peers again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::discover::set_once;
use crate::{
    Archetype, DiscoverBounds, DiscoverRequest, Invalid, Peer, PeerId, PeerList, Refusal, Timestamp, View,
};

/// The parameters of a request to `/discover?since=…` or `/watch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesRequest {
    /// Report changes of peers that carry any of these archetypes, or carried one before the
    /// change. If empty, report changes of all peers.
    pub archetypes: Vec<Archetype>,
    /// The maximum number of peers in one response of `/discover`. It does not apply to `/watch`,
    /// whose response is an unbounded stream.
    pub limit: u32,
    /// A peer whose changes are left out, normally the caller itself.
    pub exclude: Option<PeerId>,
    /// The representation of each peer.
    pub view: View,
    /// The cursor after which changes are requested. `None` requests the changes from now on.
    pub since: Option<String>,
}

impl ChangesRequest {
    /// The query parameter that turns `/discover` into a request for changes.
    pub const SINCE: &str = "since";
    /// The value of `since` that requests the changes from now on. An empty value does so, too.
    const NOW: &str = "now";

    /// A request to follow all peers from now on.
    pub fn new(limit: u32) -> Self {
        Self { archetypes: Vec::new(), limit, exclude: None, view: View::Legacy, since: None }
    }

    /// Reads query parameters whose names and values are already decoded. Unknown parameters are
    /// ignored.
    ///
    /// # Errors
    /// A [`Refusal`] that names the parameter and the rule it breaks.
    pub fn from_parameters<'a>(
        parameters: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        bounds: DiscoverBounds,
    ) -> Result<Self, Refusal> {
        let mut since = None;
        let mut others = Vec::new();
        for (name, value) in parameters {
            match name.as_ref() {
                Self::SINCE => set_once(&mut since, "since", Ok(value.into_owned()))
                    .map_err(|(name, invalid)| invalid.in_parameter(name))?,
                "order" | "cursor" | "fill" => {
                    let rule = Invalid::rule(
                        "must not be combined with since: changes have a fixed order and continue from since",
                    );
                    return Err(rule.in_parameter(name.into_owned()));
                }
                _ => others.push((name, value)),
            }
        }
        let DiscoverRequest { archetypes, limit, exclude, view, .. } =
            DiscoverRequest::from_parameters(others.into_iter(), bounds)?;
        Ok(Self { archetypes, limit, exclude, view, since: since.filter(|since| Self::is_cursor(since)) })
    }

    /// Whether a value of `since` is a cursor. Any other value requests the changes from now on.
    pub fn is_cursor(since: &str) -> bool {
        !since.is_empty() && since != Self::NOW
    }

    /// The query parameters that express this request, as names and values that are not yet
    /// encoded.
    pub fn parameters(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let archetypes = self.archetypes.iter().map(|archetype| ("archetype", archetype.as_str().into()));
        archetypes
            .chain([("limit", self.limit.to_string().into())])
            .chain(self.exclude.as_ref().map(|id| ("exclude", id.as_str().into())))
            .chain((self.view != View::Legacy).then(|| ("view", self.view.as_str().into())))
            .chain([(Self::SINCE, self.since.as_deref().unwrap_or(Self::NOW).into())])
            .collect()
    }
}

/// What a change of a peer means to a client that follows some archetypes, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The peer is listed from now on: it registered, was revived, or acquired a followed
    /// archetype.
    Joined,
    /// The peer registered again with different content.
    Changed,
    /// The peer is no longer listed: it deregistered, its lease ended, an operator evicted it, or
    /// it gave up the followed archetypes.
    Left,
}

impl ChangeKind {
    /// The kind as it appears on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Changed => "changed",
            Self::Left => "left",
        }
    }
}

/// The response to `/discover?since=…`, as a client reads it. It reports each changed peer once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeltaResponse {
    /// Peers that were not listed at `since` and are listed now.
    pub joined: Vec<Peer>,
    /// Peers that were listed at `since` and are listed now with different content.
    pub changed: Vec<Peer>,
    /// Peers that are no longer listed, but were listed at `since` or at some time after it.
    pub left: Vec<PeerId>,
    /// Data about the lists.
    #[serde(flatten)]
    pub info: DeltaInfo,
}

/// The data about the lists in a response to `/discover?since=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaInfo {
    /// The total number of peers in the three lists.
    pub count: usize,
    /// The cursor after these changes: the value of `since` in the next request.
    pub since: String,
    /// Whether more changes are already available after the cursor `since`.
    pub more: bool,
    /// The time of the response.
    pub timestamp: Timestamp,
}

impl DeltaResponse {
    /// Parses the body of a response to `/discover?since=…`.
    ///
    /// # Errors
    /// The errors of `serde_json`.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Lists {
            joined: Vec<Peer>,
            changed: Vec<Peer>,
            left: Vec<PeerId>,
        }
        // The body is parsed twice, because serde's `flatten` cannot return metadata as the peer
        // wrote it.
        let Lists { joined, changed, left } = serde_json::from_slice(body)?;
        Ok(Self { joined, changed, left, info: serde_json::from_slice(body)? })
    }
}

/// Writes the body that [`DeltaResponse::from_body`] reads, from lists that are already encoded.
///
/// # Errors
/// The errors of `serde_json`.
pub fn delta_body(
    joined: &PeerList,
    changed: &PeerList,
    left: &[PeerId],
    info: &DeltaInfo,
) -> Result<Vec<u8>, serde_json::Error> {
    let (joined, changed, left) = (joined.to_array(), changed.to_array(), serde_json::to_vec(left)?);
    let mut body =
        [b"{\"joined\":".as_slice(), &joined, b",\"changed\":", &changed, b",\"left\":", &left].concat();
    let brace_at = body.len();
    serde_json::to_writer(&mut body, info)?;
    // Joins the two objects: the keys of `info` follow the lists.
    body[brace_at] = b',';
    Ok(body)
}

/// One change, as a client of `/watch` reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The peer is listed from now on.
    Joined(Peer),
    /// The peer registered again with different content.
    Changed(Peer),
    /// The peer is no longer listed.
    Left(PeerId),
}

/// The data of an event that reports a peer as no longer listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftEvent {
    /// The id of that peer.
    pub peer_id: PeerId,
}

impl Change {
    /// Parses the data of an event of `/watch`.
    ///
    /// # Errors
    /// The errors of `serde_json`.
    pub fn from_data(kind: ChangeKind, data: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            ChangeKind::Joined => Self::Joined(serde_json::from_slice(data)?),
            ChangeKind::Changed => Self::Changed(serde_json::from_slice(data)?),
            ChangeKind::Left => Self::Left(serde_json::from_slice::<LeftEvent>(data)?.peer_id),
        })
    }

    /// The kind of the change.
    pub const fn kind(&self) -> ChangeKind {
        match self {
            Self::Joined(_) => ChangeKind::Joined,
            Self::Changed(_) => ChangeKind::Changed,
            Self::Left(_) => ChangeKind::Left,
        }
    }

    /// The id of the peer that changed.
    pub const fn peer_id(&self) -> &PeerId {
        match self {
            Self::Joined(peer) | Self::Changed(peer) => &peer.peer_id,
            Self::Left(peer_id) => peer_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PeerJson;

    const BOUNDS: DiscoverBounds = DiscoverBounds::new(1_000, 1_000);

    fn query(pairs: &[(&'static str, &'static str)]) -> Result<ChangesRequest, Refusal> {
        let pairs = pairs.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
        ChangesRequest::from_parameters(pairs, BOUNDS)
    }

    #[test]
    fn an_empty_or_missing_since_means_from_now_on() {
        for pairs in [&[][..], &[("since", "")], &[("since", "now"), ("reputation", "true")]] {
            assert_eq!(query(pairs).unwrap(), ChangesRequest::new(1_000));
        }
    }

    #[test]
    fn request_parameters_round_trip() {
        let whole = query(&[
            ("archetype", "a b"),
            ("limit", "3"),
            ("exclude", "p&q"),
            ("view", "full"),
            ("since", "AQ"),
        ])
        .unwrap();
        assert_eq!(whole.since.as_deref(), Some("AQ"));
        for request in [whole, ChangesRequest::new(7)] {
            let pairs = request.parameters().into_iter().map(|(name, value)| (name.into(), value));
            assert_eq!(ChangesRequest::from_parameters(pairs, BOUNDS).unwrap(), request);
        }
    }

    #[test]
    fn parameters_of_an_enumeration_are_refused_by_name() {
        for (name, value) in
            [("order", "all"), ("cursor", "x"), ("fill", "any"), ("limit", "0"), ("view", "none")]
        {
            assert_eq!(query(&[("since", ""), (name, value)]).unwrap_err().field.unwrap(), name);
        }
        assert_eq!(query(&[("since", ""), ("since", "x")]).unwrap_err().field.unwrap(), "since");
    }

    #[test]
    fn a_response_with_changes_round_trips() {
        let registration = r#"{"peer_id":"p","address":"10.0.0.1","port":1,"archetypes":[],"metadata":{ "n": 123456789012345678901234567890 }}"#;
        let json = PeerJson::new(&serde_json::from_str(registration).unwrap());
        let mut joined = PeerList::default();
        joined.push(json.encoded(), Timestamp::default());
        let info = DeltaInfo { count: 2, since: "c".to_owned(), more: true, timestamp: Timestamp::default() };
        let left = [PeerId::parse("q\"").unwrap()];
        let body = delta_body(&joined, &PeerList::default(), &left, &info).unwrap();
        let read = DeltaResponse::from_body(&body).unwrap();
        assert_eq!((read.info, read.left.as_slice()), (info, &left[..]));
        assert_eq!(read.joined[0].metadata.as_str(), r#"{ "n": 123456789012345678901234567890 }"#);
    }
}
