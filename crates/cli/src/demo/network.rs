//! The demo's view of the network: its peers, the ends of their leases, and which peers know each
//! other.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use aurora_discovery_client::Event;
use aurora_discovery_protocol::{Archetype, DiscoveredPage, PeerId, RegisterRequest};
use tokio::time::Instant;

/// The maximum number of lines of the story that are kept: more than fit below the peers on any
/// terminal.
const MOST_LINES: usize = 64;

/// All peers, and the events so far.
pub(super) struct Network {
    started: Instant,
    members: BTreeMap<PeerId, Member>,
    story: VecDeque<String>,
    tally: Tally,
}

/// One peer.
pub(super) struct Member {
    /// Its archetypes, as text.
    pub(super) archetypes: String,
    /// The state of the peer.
    pub(super) state: State,
    /// When its lease ends, and the length of the lease; `None` before it is registered.
    pub(super) lease: Option<(Instant, Duration)>,
    /// When its lease was last acquired or renewed.
    pub(super) beat_at: Option<Instant>,
    known: HashSet<PeerId>,
}

/// The state of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Joining,
    Live,
    Leaving,
    Crashed,
}

/// How many times each kind of event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) registered: u64,
    pub(super) renewed: u64,
    pub(super) left: u64,
    pub(super) expired: u64,
    pub(super) discovered: u64,
}

impl Network {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, members: BTreeMap::new(), story: VecDeque::new(), tally: Tally::default() }
    }

    /// All peers, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&PeerId, &Member)> {
        self.members.iter()
    }

    /// The story so far, oldest line first.
    pub(super) fn story(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.story.iter().map(String::as_str)
    }

    /// How many times each kind of event happened.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// How long the demo has run.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// A peer begins to join.
    pub(super) fn enters(&mut self, registration: &RegisterRequest) {
        let archetypes: Vec<_> = registration.archetypes.as_slice().iter().map(Archetype::as_str).collect();
        let member = Member {
            archetypes: archetypes.join(", "),
            state: State::Joining,
            lease: None,
            beat_at: None,
            known: HashSet::new(),
        };
        self.members.insert(registration.peer_id.clone(), member);
    }

    /// A peer begins to leave politely.
    pub(super) fn leaves(&mut self, id: &PeerId) {
        self.set_state(id, State::Leaving);
    }

    /// A peer stops sending heartbeats, without deregistering.
    pub(super) fn crashes(&mut self, id: &PeerId, now: Instant) -> Vec<String> {
        self.set_state(id, State::Crashed);
        self.tell(now, &format!("{id} crashed: no more heartbeats, its lease runs out"))
    }

    /// An event of the lease of a peer.
    pub(super) fn happened(&mut self, id: &PeerId, event: &Event, now: Instant) -> Vec<String> {
        match event {
            Event::Registered(answer) => {
                self.tally.registered += 1;
                let met = self.beats(id, answer.ttl_seconds.as_millis(), answer.page.as_ref(), now);
                let archetypes =
                    self.members.get(id).map(|member| member.archetypes.clone()).unwrap_or_default();
                self.tell(now, &format!("{id} joined ({archetypes}) and met {}", list(&met)))
            }
            Event::Renewed(answer) => {
                self.tally.renewed += 1;
                let _ = self.beats(id, answer.ttl_seconds.as_millis(), answer.page.as_ref(), now);
                Vec::new()
            }
            Event::Deregistered => {
                self.tally.left += 1;
                self.members.remove(id);
                self.tell(now, &format!("{id} left: deregistered"))
            }
            Event::Forgotten => self.tell(now, &format!("{id} was forgotten and registers again")),
            Event::Failed { error, .. } => self.tell(now, &format!("{id} could not be served: {error}")),
            Event::Refused { reason } => self.tell(now, &format!("{id} was refused: {reason}")),
            Event::Expired | Event::Recovered { .. } => Vec::new(),
        }
    }

    /// Compares the peers with the service's list: a crashed peer that is not in the list has
    /// expired.
    pub(super) fn listed(&mut self, listed: &HashSet<PeerId>, now: Instant) -> Vec<String> {
        let over = |member: &Member| member.lease.is_none_or(|(ends, _)| ends <= now);
        let expired: Vec<_> = self
            .members
            .iter()
            .filter(|(id, member)| member.state == State::Crashed && over(member) && !listed.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        expired
            .into_iter()
            .flat_map(|id| {
                self.tally.expired += 1;
                self.members.remove(&id);
                self.tell(now, &format!("{id} expired: nobody finds it any more"))
            })
            .collect()
    }

    /// How many live peers this one knows.
    pub(super) fn knows(&self, member: &Member) -> usize {
        member.known.iter().filter(|id| self.is_live(id)).count()
    }

    /// How many live peers there are.
    pub(super) fn live(&self) -> usize {
        self.members.values().filter(|member| member.state == State::Live).count()
    }

    /// The live peers that no other live peer knows.
    pub(super) fn isolated(&self) -> Vec<&PeerId> {
        let known: HashSet<&PeerId> = self.live_members().flat_map(|(_, member)| &member.known).collect();
        self.live_members().map(|(id, _)| id).filter(|id| !known.contains(id)).collect()
    }

    /// The number of connected components of the graph of live peers and the peers they know.
    pub(super) fn pieces(&self) -> usize {
        let mut unseen: BTreeSet<&PeerId> = self.live_members().map(|(id, _)| id).collect();
        let mut pieces = 0;
        while let Some(first) = unseen.pop_first() {
            pieces += 1;
            let mut reached = vec![first];
            while let Some(id) = reached.pop() {
                let near: Vec<_> = unseen.iter().copied().filter(|other| self.are_near(id, other)).collect();
                unseen.retain(|other| !near.contains(other));
                reached.extend(near);
            }
        }
        pieces
    }

    /// A summary of all events, as a line.
    pub(super) fn summary(&self, now: Instant) -> String {
        let Tally { registered, renewed, left, expired, discovered } = self.tally;
        let (live, seconds) = (self.live(), self.age(now).as_secs_f64());
        let isolated: Vec<_> = self.isolated().into_iter().cloned().collect();
        let promise = if isolated.is_empty() {
            format!("every one of the {live} live peers is known to another")
        } else {
            format!("of the {live} live peers nobody knows {} yet", list(&isolated))
        };
        format!(
            "In {seconds:.0} s: {registered} registered, {renewed} heartbeats, {left} left, {expired} expired, {discovered} times one peer discovered another; {promise}."
        )
    }

    /// Restarts a lease. Returns the peers that this peer meets for the first time.
    fn beats(
        &mut self,
        id: &PeerId,
        ttl_millis: u64,
        page: Option<&DiscoveredPage>,
        now: Instant,
    ) -> Vec<PeerId> {
        let Some(member) = self.members.get_mut(id) else { return Vec::new() };
        let ttl = Duration::from_millis(ttl_millis);
        member.lease = Some((now + ttl, ttl));
        member.beat_at = Some(now);
        if member.state == State::Joining {
            member.state = State::Live;
        }
        let met: Vec<_> = page
            .into_iter()
            .flat_map(|page| &page.peers)
            .map(|peer| peer.peer_id.clone())
            .filter(|other| member.known.insert(other.clone()))
            .collect();
        self.tally.discovered += u64::try_from(met.len()).unwrap_or(u64::MAX);
        met
    }

    fn set_state(&mut self, id: &PeerId, state: State) {
        if let Some(member) = self.members.get_mut(id) {
            member.state = state;
        }
    }

    fn live_members(&self) -> impl Iterator<Item = (&PeerId, &Member)> {
        self.members.iter().filter(|(_, member)| member.state == State::Live)
    }

    fn is_live(&self, id: &PeerId) -> bool {
        self.members.get(id).is_some_and(|member| member.state == State::Live)
    }

    fn are_near(&self, one: &PeerId, other: &PeerId) -> bool {
        let knows = |a, b| self.members.get(a).is_some_and(|member| member.known.contains(b));
        knows(one, other) || knows(other, one)
    }

    fn tell(&mut self, now: Instant, what: &str) -> Vec<String> {
        let line = format!("{:6.1} s  {what}", self.age(now).as_secs_f64());
        if self.story.len() == MOST_LINES {
            self.story.pop_front();
        }
        self.story.push_back(line.clone());
        vec![line]
    }
}

fn list(ids: &[PeerId]) -> String {
    let names: Vec<_> = ids.iter().map(PeerId::as_str).collect();
    match names.split_last() {
        None => "nobody yet".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::{HeartbeatResponse, RegisterResponse};

    use super::*;

    fn id(name: &str) -> PeerId {
        PeerId::parse(name).unwrap()
    }

    fn page(peers: &[&str]) -> String {
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| format!(r#"{{"peer_id":"{peer}","address":"10.0.0.1","port":1,"archetypes":[],"last_seen":"2025-10-02T12:00:00","metadata":{{}}}}"#))
            .collect();
        format!(r#""peers":[{}],"count":{}"#, peers.join(","), peers.len())
    }

    fn registered(peers: &[&str]) -> Event {
        let body = format!(
            r#"{{{},"message":"","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":3,"heartbeat_interval_seconds":1,"observed_address":"127.0.0.1","lease_token":"t"}}"#,
            page(peers)
        );
        Event::Registered(Box::new(RegisterResponse::from_body(body.as_bytes()).unwrap()))
    }

    fn renewed(peers: &[&str]) -> Event {
        let body = format!(
            r#"{{{},"message":"","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":3,"heartbeat_interval_seconds":1}}"#,
            page(peers)
        );
        Event::Renewed(Box::new(HeartbeatResponse::from_body(body.as_bytes()).unwrap()))
    }

    /// Three peers: b has met a, c has met no peer.
    fn three(now: Instant) -> Network {
        let mut network = Network::new(now);
        for (name, met) in [("a", &[][..]), ("b", &["a"]), ("c", &[])] {
            network.enters(&RegisterRequest::new(id(name)));
            network.happened(&id(name), &registered(met), now);
        }
        network
    }

    #[test]
    fn a_peer_that_nobody_knows_is_isolated_until_somebody_meets_it() {
        let now = Instant::now();
        let mut network = three(now);
        assert_eq!(network.isolated(), [&id("b"), &id("c")]);
        assert_eq!(network.pieces(), 2);
        assert!(network.summary(now).contains("nobody knows b and c yet"));
        network.happened(&id("a"), &renewed(&["b", "c"]), now);
        assert!(network.isolated().is_empty());
        assert_eq!(network.pieces(), 1);
        assert!(network.summary(now).contains("every one of the 3 live peers is known to another"));
    }

    #[test]
    fn a_crashed_peer_expires_once_its_lease_is_over_and_the_service_lists_it_no_more() {
        let now = Instant::now();
        let mut network = three(now);
        network.crashes(&id("a"), now);
        assert_eq!(network.live(), 2);
        let others = HashSet::from([id("b"), id("c")]);
        assert!(network.listed(&others, now).is_empty());
        let later = now + Duration::from_secs(3);
        assert!(network.listed(&HashSet::from([id("a")]), later).is_empty());
        assert_eq!(network.listed(&others, later).len(), 1);
        assert_eq!(network.tally().expired, 1);
        assert!(network.listed(&others, later).is_empty());
    }

    #[test]
    fn who_leaves_is_gone_at_once() {
        let now = Instant::now();
        let mut network = three(now);
        network.leaves(&id("c"));
        assert_eq!(network.happened(&id("c"), &Event::Deregistered, now).len(), 1);
        assert_eq!((network.live(), network.tally().left), (2, 1));
    }

    #[test]
    fn the_story_is_bounded() {
        let now = Instant::now();
        let mut network = three(now);
        (0..1_000).for_each(|_| drop(network.happened(&id("a"), &Event::Forgotten, now)));
        assert_eq!(network.story().count(), MOST_LINES);
    }
}
