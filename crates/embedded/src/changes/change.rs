//! A single change: how a peer was listed before and after it.
//!
//! Successive changes of one peer may be merged into one. A follower may have read some of them
//! before the merge, so a merged change keeps the states in between. A follower that reads all
//! available changes each time learns exactly whether a peer joined or changed. If it reads page by
//! page, a page may end between the numbers of two changes that were merged. The follower has then
//! not read the earlier change, although its position is after it, and may get `joined` for a peer
//! that it already knows. Any follower may get `left` for a peer that it does not know. Both are
//! acceptable, because a follower still never keeps a peer that is no longer listed.

use std::sync::Arc;

use aurora_discovery_protocol::{
    ChangeKind, EncodedPeer, FullView, LeftEvent, PeerId, PeerList, Timestamp, View,
};

/// The hashed archetypes of a live peer.
pub(crate) type ArchetypeHashes = Arc<[u64]>;

/// The listing of a live peer.
pub(crate) struct ListedPeer<'a> {
    pub(crate) archetypes: ArchetypeHashes,
    pub(crate) peer: EncodedPeer<'a>,
    pub(crate) last_seen: Timestamp,
    /// Remaining seconds of its lease.
    pub(crate) expires_in: u64,
    /// Seconds since it registered.
    pub(crate) registered_ago: u64,
    /// Its signed registration, if it signed.
    pub(crate) signed: Option<&'a str>,
}

/// A complete change of one peer. It can be reported after the peer is gone.
#[derive(Clone)]
pub(super) struct Change {
    /// The number of this change. The changes of a run are numbered from 1.
    pub(super) number: u64,
    /// The peer's id. If the peer is listed after the change, the front and the back of its
    /// [`EncodedPeer`] and its signed registration follow.
    text: Box<[u8]>,
    id_len: usize,
    front_len: usize,
    signed_len: usize,
    last_seen: Timestamp,
    expires_in: u64,
    registered_ago: u64,
    /// The archetypes before the first of the merged changes, if the peer was listed.
    before: Option<ArchetypeHashes>,
    /// The states of the peer after the earlier changes that were merged into this one, in order. A
    /// change of the content alone adds no state.
    between: Vec<State>,
    after: Option<ArchetypeHashes>,
}

/// The archetypes of a peer after the change with this number. `None` if it was not listed.
#[derive(Clone)]
struct State {
    number: u64,
    archetypes: Option<ArchetypeHashes>,
}

/// Selects the changes that a follower sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Hashed archetypes. If empty, all peers match.
    pub(super) wanted: Box<[u64]>,
    /// A peer whose changes are excluded.
    pub(super) exclude: Option<PeerId>,
}

impl Change {
    /// Memory of an entry in addition to its text and its archetypes: the change itself, two
    /// reference counts, the pointer in the log and the overhead of three allocations.
    const COST: usize = size_of::<Self>() + 16 + 24 + 3 * 16;
    /// The maximum number of states that a merged change keeps. A peer that only changes its
    /// content needs at most one state. Each change of the archetypes adds a state. When a merged
    /// change has this many states, the next change of the peer gets its own entry in the log.
    const MAX_STATES: usize = 32;

    pub(super) fn new(peer: &[u8], before: Option<&ArchetypeHashes>, after: Option<ListedPeer<'_>>) -> Self {
        // One allocation holds all texts, because the log may hold tens of thousands of changes.
        let encoded = after.as_ref().map(|listed| listed.peer).unwrap_or_default();
        let (front, back) = (encoded.front(), encoded.back());
        let signed = after.as_ref().and_then(|listed| listed.signed).unwrap_or_default().as_bytes();
        let change = Self {
            number: 0,
            text: [peer, front, back, signed].concat().into(),
            id_len: peer.len(),
            front_len: front.len(),
            signed_len: signed.len(),
            last_seen: Timestamp::default(),
            expires_in: 0,
            registered_ago: 0,
            before: before.cloned(),
            between: Vec::new(),
            after: None,
        };
        match after {
            None => change,
            Some(ListedPeer { archetypes, last_seen, expires_in, registered_ago, .. }) => {
                Self { last_seen, expires_in, registered_ago, after: Some(archetypes), ..change }
            }
        }
    }

    /// Whether a later change can be merged with this one.
    pub(super) fn has_room(&self) -> bool {
        self.between.len() < Self::MAX_STATES
    }

    /// Merges this change with the previous one of the same peer.
    pub(super) fn merged_with(self, earlier: Arc<Self>) -> Self {
        let Self { number, before, mut between, after, .. } = Arc::unwrap_or_clone(earlier);
        let previous = between.last().map_or(&before, |state| &state.archetypes);
        // A change of the content alone adds no state, because filters look at archetypes only.
        if *previous != after {
            between.push(State { number, archetypes: after });
        }
        Self { before, between, ..self }
    }

    /// The archetypes of the peer that a follower knows if it has read the changes up to the number
    /// `seen`. `None` if the peer was not listed then.
    fn seen_before(&self, seen: u64) -> Option<&ArchetypeHashes> {
        let last_seen = self.between.iter().rev().find(|state| state.number <= seen);
        last_seen.map_or(&self.before, |state| &state.archetypes).as_ref()
    }

    pub(super) fn id_bytes(&self) -> &[u8] {
        &self.text[..self.id_len]
    }

    fn encoded(&self) -> EncodedPeer<'_> {
        let text = &self.text[self.id_len..self.text.len() - self.signed_len];
        let (front, back) = text.split_at(self.front_len);
        EncodedPeer::new(front, back)
    }

    fn signed(&self) -> Option<&str> {
        let signed = &self.text[self.text.len() - self.signed_len..];
        std::str::from_utf8(signed).ok().filter(|signed| !signed.is_empty())
    }

    /// Approximate memory use in bytes.
    pub(super) fn cost(&self) -> usize {
        let states = self.between.iter();
        let between =
            states.map(|state| size_of::<State>() + 8 * state.archetypes.as_ref().map_or(0, |all| all.len()));
        Self::COST + self.text.len() + 8 * self.archetypes().count() + between.sum::<usize>()
    }

    /// An upper bound for the number of bytes that the change takes in a list, without the comma
    /// before it.
    pub(super) fn max_listed_len(&self, view: View) -> usize {
        self.id_len + self.encoded().max_listed_len(view) + FullView::signed_len(self.signed_len)
    }

    /// All archetypes that the peer has before or after the change, without those in between. Some
    /// may appear twice.
    pub(super) fn archetypes(&self) -> impl Iterator<Item = u64> {
        self.before.iter().chain(&self.after).flat_map(|hashes| hashes.iter().copied())
    }

    /// The archetypes that the peer had before each of the changes that were merged into this one.
    /// Some may appear twice.
    pub(super) fn merged_archetypes(&self) -> impl Iterator<Item = u64> {
        let between = self.between.iter().filter_map(|state| state.archetypes.as_ref());
        self.before.iter().chain(between).flat_map(|hashes| hashes.iter().copied())
    }

    /// Appends the peer as it was listed after the change.
    pub(super) fn list(&self, view: View, list: &mut PeerList) {
        let Self { expires_in, registered_ago, .. } = *self;
        let full = || FullView { expires_in, registered_ago, signed: self.signed() };
        list.push_in_view(view, self.encoded(), self.last_seen, full);
    }

    /// The id of the peer.
    pub(super) fn peer_id(&self) -> Option<PeerId> {
        PeerId::parse(std::str::from_utf8(self.id_bytes()).ok()?).ok()
    }

    /// The event data that a watcher gets: one JSON object.
    pub(super) fn event_json(&self, kind: ChangeKind, view: View) -> Option<Vec<u8>> {
        // A peer that left is reported by its id only.
        if kind == ChangeKind::Left {
            return serde_json::to_vec(&LeftEvent { peer_id: self.peer_id()? }).ok();
        }
        let mut list = PeerList::with_capacity(self.encoded().json_len());
        self.list(view, &mut list);
        let mut json = list.to_array();
        // Removes the brackets of the array.
        json.pop();
        json.remove(0);
        Some(json)
    }
}

impl Filter {
    /// The kind of a change for a follower with this filter whose last page or read ended at
    /// `seen`; `None` if it does not concern the follower. A peer that gains or loses a wanted
    /// archetype joins or leaves for this follower, although the peer stays live.
    pub(super) fn kind(&self, change: &Change, seen: u64) -> Option<ChangeKind> {
        if self.excludes(change) {
            return None;
        }
        match (self.matches_before(change, seen), self.matches_after(change)) {
            (false, true) => Some(ChangeKind::Joined),
            (true, true) => Some(ChangeKind::Changed),
            (_, false) => self.may_know(change).then_some(ChangeKind::Left),
        }
    }

    pub(super) fn excludes(&self, change: &Change) -> bool {
        self.exclude.as_ref().is_some_and(|peer| peer.as_str().as_bytes() == change.id_bytes())
    }

    pub(super) fn matches_before(&self, change: &Change, seen: u64) -> bool {
        self.matches(change.seen_before(seen))
    }

    /// Whether the peer matched before the change or in a state in between, so that a follower may
    /// know it. The position of a follower is not sufficient to decide this. The follower may have
    /// learned of the peer from an enumeration, or its position may be between the numbers of two
    /// merged changes, of which it has not read the earlier one.
    fn may_know(&self, change: &Change) -> bool {
        let mut states = change.between.iter().map(|state| state.archetypes.as_ref());
        self.matches(change.before.as_ref()) || states.any(|archetypes| self.matches(archetypes))
    }

    pub(super) fn matches_after(&self, change: &Change) -> bool {
        self.matches(change.after.as_ref())
    }

    fn matches(&self, archetypes: Option<&ArchetypeHashes>) -> bool {
        let has_wanted = |hashes: &ArchetypeHashes| hashes.iter().any(|hash| self.wanted.contains(hash));
        archetypes.is_some_and(|hashes| self.wanted.is_empty() || has_wanted(hashes))
    }
}
