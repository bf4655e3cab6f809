//! The peers of one page, as the JSON of the response.

use std::ops::Range;

use crate::time::{SECONDS_PER_DAY, write_time_of_day};
use crate::{EncodedPeer, Timestamp, View};

/// The list of one page, built peer by peer. Nothing is parsed or serialized: appending a peer
/// copies its bytes and fills in `last_seen`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerList {
    /// The JSON of the page so far: `{"peers":[…`. The response continues this buffer, so that the
    /// list is not copied again.
    text: Vec<u8>,
    len: usize,
    last_seen: LastSeenTemplate,
}

/// The values that only the full view of a peer contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullView<'a> {
    /// Whole seconds until the lease ends.
    pub expires_in: u64,
    /// Whole seconds since the peer registered.
    pub registered_ago: u64,
    /// The signed registration, a compact JWS, if the peer signed.
    pub signed: Option<&'a str>,
}

impl FullView<'_> {
    const SIGNED_KEY: &'static str = ",\"signed\":\"";

    /// The number of bytes that a signed registration of `record` bytes takes in a list.
    pub const fn signed_len(record: usize) -> usize {
        Self::SIGNED_KEY.len() + record + 1
    }
}

/// The part of a peer's JSON that contains `last_seen`, filled in with the time of an earlier peer.
/// Most peers of a page were seen on the same day, so the date is formatted about once per page. If
/// the complete time were formatted for each peer, a page would take about a third longer
/// (docs/decisions/0013-plainer-index.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastSeenTemplate {
    /// The start of the day in `text`, in seconds since the epoch.
    midnight: u64,
    text: [u8; EncodedPeer::LAST_SEEN.len()],
}

impl Default for LastSeenTemplate {
    fn default() -> Self {
        let mut text = [0; EncodedPeer::LAST_SEEN.len()];
        text.copy_from_slice(EncodedPeer::LAST_SEEN.as_bytes());
        Self { midnight: 0, text }
    }
}

impl LastSeenTemplate {
    fn of(instant: Timestamp) -> Self {
        let mut template = Self { midnight: instant.midnight().as_secs(), ..Self::default() };
        template.text[LAST_SEEN].copy_from_slice(&instant.to_wire());
        template
    }

    fn append(&mut self, instant: Timestamp, out: &mut Vec<u8>) {
        // A time before `midnight` wraps around to a huge number, so that one comparison rejects
        // every other day.
        let second = instant.as_secs().wrapping_sub(self.midnight);
        if second >= SECONDS_PER_DAY {
            *self = Self::of(instant);
            return out.extend_from_slice(&self.text);
        }
        let start = out.len();
        out.extend_from_slice(&self.text);
        // Copying the whole part and then overwriting the time is faster than copying it in small
        // pieces.
        if let Some(time) = out[start..].get_mut(TIME_OF_DAY).and_then(|gap| gap.try_into().ok()) {
            write_time_of_day(second, time);
        }
    }
}

/// The position of the time in the template.
const LAST_SEEN: Range<usize> = EncodedPeer::LAST_SEEN_AT..EncodedPeer::LAST_SEEN_AT + Timestamp::WIRE_LEN;

/// The position of `HH:MM:SS` in the template.
const TIME_OF_DAY: Range<usize> = LAST_SEEN.end - "HH:MM:SS".len()..LAST_SEEN.end;

impl PeerList {
    const HEAD: &[u8] = b"{\"peers\":[";

    /// An empty list, with capacity for `bytes` of peers and for the rest of the response.
    pub fn with_capacity(bytes: usize) -> Self {
        const TAIL: usize = 192; // count, timestamp, total and a cursor
        let mut text = Vec::with_capacity(Self::HEAD.len() + bytes + TAIL);
        text.extend_from_slice(Self::HEAD);
        Self { text, len: 0, last_seen: LastSeenTemplate::default() }
    }

    /// The number of peers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The size of the listed peers in bytes, including the commas between them.
    pub fn bytes(&self) -> usize {
        self.text.len().saturating_sub(Self::HEAD.len())
    }

    /// Appends a peer in a view. `full` is called only for the full view, and returns the values
    /// that only that view contains.
    pub fn push_in_view<'a>(
        &mut self,
        view: View,
        peer: EncodedPeer<'_>,
        last_seen: Timestamp,
        full: impl FnOnce() -> FullView<'a>,
    ) {
        match view {
            View::Legacy => self.push(peer, last_seen),
            View::Full | View::Observer => {
                self.push_full(peer, last_seen, &full());
            }
            View::Contact => self.push_contact(peer),
        }
    }

    /// Appends a peer in the legacy view.
    pub fn push(&mut self, peer: EncodedPeer<'_>, last_seen: Timestamp) {
        self.separate();
        self.text.extend_from_slice(EncodedPeer::PREFIX.as_bytes());
        self.text.extend_from_slice(peer.front());
        self.last_seen.append(last_seen, &mut self.text);
        self.text.extend_from_slice(peer.back());
        self.text.extend_from_slice(EncodedPeer::SUFFIX.as_bytes());
        self.len += 1;
    }

    fn push_contact(&mut self, peer: EncodedPeer<'_>) {
        self.separate();
        self.text.extend_from_slice(EncodedPeer::PREFIX.as_bytes());
        self.text.extend_from_slice(peer.contact());
        self.text.extend_from_slice(EncodedPeer::SUFFIX.as_bytes());
        self.len += 1;
    }

    /// Prepares the buffer for the next peer.
    fn separate(&mut self) {
        if self.text.is_empty() {
            self.text.extend_from_slice(Self::HEAD);
        }
        if self.len > 0 {
            self.text.push(b',');
        }
    }

    /// Appends the peers of another list.
    pub fn append(&mut self, other: &Self) {
        let peers = other.text.get(Self::HEAD.len()..).unwrap_or_default();
        if peers.is_empty() {
            return;
        }
        self.separate();
        self.text.extend_from_slice(peers);
        self.len += other.len;
    }

    fn push_full(&mut self, peer: EncodedPeer<'_>, last_seen: Timestamp, full: &FullView<'_>) {
        self.push(peer, last_seen);
        self.text.pop();
        let FullView { expires_in, registered_ago, signed } = full;
        let extra =
            format!(",\"expires_in_seconds\":{expires_in},\"registered_seconds_ago\":{registered_ago}");
        self.text.extend_from_slice(extra.as_bytes());
        if let Some(signed) = signed {
            // A compact JWS has no character that JSON escapes, so it is copied unchanged.
            for part in [FullView::SIGNED_KEY, signed, "\""] {
                self.text.extend_from_slice(part.as_bytes());
            }
        }
        self.text.push(b'}');
    }

    /// The peers as a JSON array.
    pub fn to_array(&self) -> Vec<u8> {
        let peers = self.text.get(Self::HEAD.len()..).unwrap_or_default();
        [b"[", peers, b"]"].concat()
    }

    /// The JSON of the page up to the end of the list: `{"peers":[…]`. The caller writes the rest
    /// of the object.
    pub(crate) fn into_open_object(mut self) -> Vec<u8> {
        if self.text.is_empty() {
            self.text.extend_from_slice(Self::HEAD);
        }
        self.text.push(b']');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Peer, PeerId, PeerJson, Registration};

    fn registration(id: &str) -> Registration {
        let json = format!(
            r#"{{"peer_id":"{id}","address":"10.0.0.1","port":1,"archetypes":["a"],"metadata":{{}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn json(id: &str) -> PeerJson {
        PeerJson::new(&registration(id))
    }

    #[test]
    fn a_list_contains_the_last_seen_time_of_each_peer() {
        let mut list = PeerList::with_capacity(0);
        let seen = [0, 1_759_406_400_999, 1_759_406_459_000, 1_800_000_000_000].map(Timestamp::from_millis);
        for (n, at) in seen.iter().enumerate() {
            let json = json(&format!("p{n}"));
            list.push(json.encoded(), *at);
        }
        let peers: Vec<Peer> = serde_json::from_slice(&list.to_array()).unwrap();
        let listed: Vec<_> = peers.iter().map(|peer| peer.last_seen.unwrap().as_secs()).collect();
        assert_eq!(listed, seen.map(Timestamp::as_secs));
        assert_eq!(list.len(), 4);
    }

    #[test]
    fn the_legacy_view_has_six_keys_and_the_full_view_two_more() {
        let json = json("p");
        let mut list = PeerList::default();
        list.push(json.encoded(), Timestamp::default());
        let full = FullView { expires_in: 7, registered_ago: 9, signed: None };
        list.push_full(json.encoded(), Timestamp::default(), &full);
        let signed = FullView { signed: Some("a.b.c"), ..full };
        let before = list.bytes();
        list.push_in_view(View::Full, json.encoded(), Timestamp::default(), || signed);
        let max = json.encoded().max_listed_len(View::Full) + FullView::signed_len("a.b.c".len());
        assert!(list.bytes() - before <= max + 1, "the record counts for the size of a page");
        let peers: Vec<serde_json::Map<String, serde_json::Value>> =
            serde_json::from_slice(&list.to_array()).unwrap();
        let keys: Vec<_> = peers[0].keys().map(String::as_str).collect();
        assert_eq!(keys, ["address", "archetypes", "last_seen", "metadata", "peer_id", "port"]);
        assert_eq!(peers[1].len(), 8);
        assert_eq!(peers[1]["expires_in_seconds"], 7);
        assert_eq!((peers[2].len(), peers[2]["signed"].as_str()), (9, Some("a.b.c")));
    }

    #[test]
    fn the_contact_view_has_the_id_the_address_and_the_port() {
        for id in ["p", ",\"archetypes\":[", "\\", "x,", ",\"address"] {
            let mut registration = registration("p");
            registration.peer_id = PeerId::parse(id).unwrap();
            let json = PeerJson::new(&registration);
            let mut list = PeerList::default();
            for _ in 0..2 {
                list.push_in_view(View::Contact, json.encoded(), Timestamp::default(), || unreachable!());
            }
            let peers: Vec<serde_json::Value> = serde_json::from_slice(&list.to_array()).unwrap();
            assert_eq!(peers[1], serde_json::json!({"peer_id": id, "address": "10.0.0.1", "port": 1}));
            assert!(list.bytes() <= 2 * json.encoded().max_listed_len(View::Contact) + 1);
            let read: Peer = serde_json::from_value(peers[0].clone()).unwrap();
            assert_eq!((read.peer_id.as_str(), read.last_seen), (id, None));
        }
    }
}
