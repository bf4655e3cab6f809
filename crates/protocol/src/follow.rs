//! What a peer asks of a network that it already knows: what changed since.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::discover::once;
use crate::{
    Archetype, DiscoverBounds, DiscoverRequest, Invalid, Peer, PeerId, PeerList, Refusal, Timestamp, View,
};

/// A call of `/discover?since=…` or of `/watch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowRequest {
    /// Changes of peers that carry any of these, or did before; of all peers if empty.
    pub archetypes: Vec<Archetype>,
    /// Most peers in one answer of `/discover`; `/watch` has no answer that ends.
    pub limit: u32,
    /// The peer whose changes are left out, if any: the caller.
    pub exclude: Option<PeerId>,
    /// How much is said of each peer.
    pub view: View,
    /// The cursor after which the changes are wanted; `None`: from now on.
    pub since: Option<String>,
}

impl FollowRequest {
    /// The parameter that makes a discovery one of changes.
    pub const SINCE: &str = "since";
    /// What `since` says to begin now, as nothing does.
    const NOW: &str = "now";

    /// A request to follow everybody from now on.
    pub fn new(limit: u32) -> Self {
        Self { archetypes: Vec::new(), limit, exclude: None, view: View::Legacy, since: None }
    }

    /// Reads the parameters of a query, names and values decoded. Unknown parameters are ignored.
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
                Self::SINCE => once(&mut since, "since", Ok(value.into_owned()))
                    .map_err(|(name, invalid)| invalid.in_parameter(name))?,
                "order" | "cursor" | "fill" => {
                    let rule = Invalid::rule(
                        "must be left out: changes come in their own order, and go on by since",
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

    /// Whether what `since` says is a cursor: it means from now on otherwise.
    pub fn is_cursor(since: &str) -> bool {
        !since.is_empty() && since != Self::NOW
    }

    /// The parameters of a query that asks this: names and values, not yet encoded.
    pub fn parameters(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let archetypes = self.archetypes.iter().map(|archetype| ("archetype", archetype.as_str().into()));
        archetypes
            .chain([("limit", self.limit.to_string().into())])
            .chain(self.exclude.as_ref().map(|id| ("exclude", id.as_str().into())))
            .chain((self.view == View::Full).then(|| ("view", "full".into())))
            .chain([(Self::SINCE, self.since.as_deref().unwrap_or(Self::NOW).into())])
            .collect()
    }
}

/// What a change of a peer is to one who follows some archetypes, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is listed from here on: it registered, came back to life, or took up an archetype that is followed.
    Joined,
    /// It registered anew and says other things of itself.
    Changed,
    /// It is listed no more: it deregistered, its lease ended, or it laid down the archetypes that are followed.
    Left,
}

impl ChangeKind {
    /// The kind as it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Changed => "changed",
            Self::Left => "left",
        }
    }
}

/// The answer to `/discover?since=…`, as a client reads it: what became of each peer that changed, each once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeltaResponse {
    /// Peers that were not listed at `since` and are now.
    pub joined: Vec<Peer>,
    /// Peers that were listed at `since` and say other things of themselves now.
    pub changed: Vec<Peer>,
    /// Peers that were listed at `since`, or between then and now, and are no more.
    pub left: Vec<PeerId>,
    /// What is said about the lists.
    #[serde(flatten)]
    pub figures: DeltaFigures,
}

/// What an answer says about its changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaFigures {
    /// How many peers the three lists hold.
    pub count: usize,
    /// The cursor behind these changes: the next call's `since`.
    pub since: String,
    /// Whether more changes wait behind it already.
    pub more: bool,
    /// When the service answered.
    pub timestamp: Timestamp,
}

impl DeltaResponse {
    /// Reads an answer to `/discover?since=…`.
    ///
    /// # Errors
    /// As `serde_json` reports them.
    pub fn from_body(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Lists {
            joined: Vec<Peer>,
            changed: Vec<Peer>,
            left: Vec<PeerId>,
        }
        // In two passes: serde's `flatten` can't carry metadata as it was written.
        let Lists { joined, changed, left } = serde_json::from_slice(body)?;
        Ok(Self { joined, changed, left, figures: serde_json::from_slice(body)? })
    }
}

/// Writes the answer that [`DeltaResponse::from_body`] reads, out of lists whose bytes are ready.
///
/// # Errors
/// As `serde_json` reports them.
pub fn delta_body(
    joined: &PeerList,
    changed: &PeerList,
    left: &[PeerId],
    figures: &DeltaFigures,
) -> Result<Vec<u8>, serde_json::Error> {
    let (joined, changed, left) = (joined.to_array(), changed.to_array(), serde_json::to_vec(left)?);
    let mut body =
        [b"{\"joined\":".as_slice(), &joined, b",\"changed\":", &changed, b",\"left\":", &left].concat();
    let brace_at = body.len();
    serde_json::to_writer(&mut body, figures)?;
    // The object of the figures goes on where the lists ended.
    body[brace_at] = b',';
    Ok(body)
}

/// One change, as a client of `/watch` reads it.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The peer is listed from here on.
    Joined(Peer),
    /// The peer says other things of itself.
    Changed(Peer),
    /// The peer is listed no more.
    Left(PeerId),
}

/// The data of an event that says who left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departed {
    /// Who left.
    pub peer_id: PeerId,
}

impl Change {
    /// Reads the data of an event of `/watch`.
    ///
    /// # Errors
    /// As `serde_json` reports them.
    pub fn from_data(kind: ChangeKind, data: &[u8]) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            ChangeKind::Joined => Self::Joined(serde_json::from_slice(data)?),
            ChangeKind::Changed => Self::Changed(serde_json::from_slice(data)?),
            ChangeKind::Left => Self::Left(serde_json::from_slice::<Departed>(data)?.peer_id),
        })
    }

    /// Which kind of change it is.
    pub const fn kind(&self) -> ChangeKind {
        match self {
            Self::Joined(_) => ChangeKind::Joined,
            Self::Changed(_) => ChangeKind::Changed,
            Self::Left(_) => ChangeKind::Left,
        }
    }

    /// Whose change it is.
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

    const BOUNDS: DiscoverBounds = DiscoverBounds { default: 1_000, max: 1_000 };

    fn query(pairs: &[(&'static str, &'static str)]) -> Result<FollowRequest, Refusal> {
        let pairs = pairs.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
        FollowRequest::from_parameters(pairs, BOUNDS)
    }

    #[test]
    fn an_empty_since_and_none_mean_from_now_on() {
        for pairs in [&[][..], &[("since", "")], &[("since", "now"), ("reputation", "true")]] {
            assert_eq!(query(pairs).unwrap(), FollowRequest::new(1_000));
        }
    }

    #[test]
    fn what_a_client_asks_the_service_reads() {
        let whole = query(&[
            ("archetype", "a b"),
            ("limit", "3"),
            ("exclude", "p&q"),
            ("view", "full"),
            ("since", "AQ"),
        ])
        .unwrap();
        assert_eq!(whole.since.as_deref(), Some("AQ"));
        for asked in [whole, FollowRequest::new(7)] {
            let pairs = asked.parameters().into_iter().map(|(name, value)| (name.into(), value));
            assert_eq!(FollowRequest::from_parameters(pairs, BOUNDS).unwrap(), asked);
        }
    }

    #[test]
    fn what_belongs_to_an_enumeration_is_refused_by_name() {
        for (name, value) in
            [("order", "all"), ("cursor", "x"), ("fill", "any"), ("limit", "0"), ("view", "none")]
        {
            assert_eq!(query(&[("since", ""), (name, value)]).unwrap_err().field.unwrap(), name);
        }
        assert_eq!(query(&[("since", ""), ("since", "x")]).unwrap_err().field.unwrap(), "since");
    }

    #[test]
    fn what_the_service_writes_a_client_reads() {
        let registration = r#"{"peer_id":"p","address":"10.0.0.1","port":1,"archetypes":[],"metadata":{ "n": 123456789012345678901234567890 }}"#;
        let json = PeerJson::new(&serde_json::from_str(registration).unwrap());
        let mut joined = PeerList::default();
        joined.push(json.encoded(), Timestamp::default());
        let figures =
            DeltaFigures { count: 2, since: "c".to_owned(), more: true, timestamp: Timestamp::default() };
        let left = [PeerId::parse("q\"").unwrap()];
        let body = delta_body(&joined, &PeerList::default(), &left, &figures).unwrap();
        let read = DeltaResponse::from_body(&body).unwrap();
        assert_eq!((read.figures, read.left.as_slice()), (figures, &left[..]));
        assert_eq!(read.joined[0].metadata.as_str(), r#"{ "n": 123456789012345678901234567890 }"#);
    }
}
