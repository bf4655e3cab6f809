//! One change: how a peer was listed before and after it.

use aurora_protocol::{ChangeKind, Departed, EncodedPeer, PeerId, PeerList, Timestamp, View};

/// The archetypes that a live peer carried, hashed.
pub(crate) type Traits = Box<[u64]>;

/// How a live peer is listed.
pub(crate) struct Listed<'a> {
    pub(crate) traits: Traits,
    pub(crate) peer: EncodedPeer<'a>,
    pub(crate) last_seen: Timestamp,
    /// Seconds that its lease has left.
    pub(crate) expires_in: u64,
    /// Seconds since it registered.
    pub(crate) registered_ago: u64,
}

/// A change of one peer, whole: it can be told after the peer is gone.
pub(super) struct Change {
    /// The peer's id, followed by the front and the back of its JSON if it is listed.
    text: Box<[u8]>,
    id_len: usize,
    front_len: usize,
    last_seen: Timestamp,
    expires_in: u64,
    registered_ago: u64,
    before: Option<Traits>,
    after: Option<Traits>,
}

/// Which changes somebody follows.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Archetypes, hashed; empty: all peers.
    pub(super) wanted: Box<[u64]>,
    /// A peer whose changes are left out.
    pub(super) exclude: Option<PeerId>,
}

impl Change {
    /// What an entry takes beside its text and its traits: the change, its reference counts, its place and three allocations.
    const COST: usize = size_of::<Self>() + 16 + 8 + 3 * 16;

    pub(super) fn new(peer: &[u8], before: Option<&Traits>, after: Option<Listed<'_>>) -> Self {
        let encoded = after.as_ref().map(|listed| listed.peer).unwrap_or_default();
        let (front, back) = (encoded.front(), encoded.back());
        let change = Self {
            text: [peer, front, back].concat().into(),
            id_len: peer.len(),
            front_len: front.len(),
            last_seen: Timestamp::default(),
            expires_in: 0,
            registered_ago: 0,
            before: before.cloned(),
            after: None,
        };
        match after {
            None => change,
            Some(Listed { traits, last_seen, expires_in, registered_ago, .. }) => {
                Self { last_seen, expires_in, registered_ago, after: Some(traits), ..change }
            }
        }
    }

    pub(super) fn peer_id(&self) -> &[u8] {
        &self.text[..self.id_len]
    }

    fn encoded(&self) -> EncodedPeer<'_> {
        let (front, back) = self.text[self.id_len..].split_at(self.front_len);
        EncodedPeer::new(front, back)
    }

    /// About how many bytes it takes in memory.
    pub(super) fn cost(&self) -> usize {
        Self::COST + self.text.len() + 8 * self.traits().count()
    }

    /// At most how many bytes it takes in a list, beside a comma.
    pub(super) fn told_len(&self, view: View) -> usize {
        self.id_len + self.encoded().listed_len(view)
    }

    /// All archetypes that it concerns; some may come twice.
    pub(super) fn traits(&self) -> impl Iterator<Item = u64> {
        self.before.iter().chain(&self.after).flat_map(|traits| traits.iter().copied())
    }

    /// Appends the peer as it was listed after the change.
    pub(super) fn list(&self, view: View, list: &mut PeerList) {
        match view {
            View::Legacy => list.push(self.encoded(), self.last_seen),
            View::Full => {
                list.push_full(self.encoded(), self.last_seen, self.expires_in, self.registered_ago);
            }
        }
    }

    /// Who left.
    pub(super) fn departed(&self) -> Option<PeerId> {
        PeerId::parse(std::str::from_utf8(self.peer_id()).ok()?).ok()
    }

    /// What is told of it: one JSON object.
    pub(super) fn told(&self, kind: ChangeKind, view: View) -> Option<Vec<u8>> {
        if kind == ChangeKind::Left {
            return serde_json::to_vec(&Departed { peer_id: self.departed()? }).ok();
        }
        let mut list = PeerList::with_capacity(self.encoded().json_len());
        self.list(view, &mut list);
        let mut json = list.to_array();
        json.pop();
        json.remove(0);
        Some(json)
    }
}

impl Filter {
    /// What a change is to whom this filters, if anything.
    pub(super) fn kind(&self, change: &Change) -> Option<ChangeKind> {
        if self.excludes(change) {
            return None;
        }
        match (self.before(change), self.after(change)) {
            (false, true) => Some(ChangeKind::Joined),
            (true, true) => Some(ChangeKind::Changed),
            (true, false) => Some(ChangeKind::Left),
            (false, false) => None,
        }
    }

    pub(super) fn excludes(&self, change: &Change) -> bool {
        self.exclude.as_ref().is_some_and(|peer| peer.as_str().as_bytes() == change.peer_id())
    }

    pub(super) fn before(&self, change: &Change) -> bool {
        self.matches(change.before.as_ref())
    }

    pub(super) fn after(&self, change: &Change) -> bool {
        self.matches(change.after.as_ref())
    }

    fn matches(&self, traits: Option<&Traits>) -> bool {
        let carries = |traits: &Traits| traits.iter().any(|one| self.wanted.contains(one));
        traits.is_some_and(|traits| self.wanted.is_empty() || carries(traits))
    }
}
