//! The demo's view of the network: its peers, the ends of their leases, and which peers know each
//! other.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use aurora_discovery_client::Event;
use aurora_discovery_protocol::{Archetype, DiscoveredPage, PeerId, RegisterRequest};
use tokio::time::Instant;

/// The maximum number of log lines that are kept: more than fit below the peers on most terminals.
const MAX_LOG_LINES: usize = 64;

/// All peers, and the events so far.
pub(super) struct Network {
    started: Instant,
    members: BTreeMap<PeerId, Member>,
    log: VecDeque<String>,
    counts: Counts,
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
    pub(super) renewed_at: Option<Instant>,
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
pub(super) struct Counts {
    pub(super) registered: u64,
    pub(super) renewed: u64,
    pub(super) left: u64,
    pub(super) expired: u64,
    pub(super) discovered: u64,
}

impl Network {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, members: BTreeMap::new(), log: VecDeque::new(), counts: Counts::default() }
    }

    /// All peers, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&PeerId, &Member)> {
        self.members.iter()
    }

    /// The lines of the log, oldest first.
    pub(super) fn log(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.log.iter().map(String::as_str)
    }

    /// How many times each kind of event happened.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// How long the demo has run.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// Adds a peer that is joining.
    pub(super) fn add(&mut self, registration: &RegisterRequest) {
        let archetypes: Vec<_> = registration.archetypes.as_slice().iter().map(Archetype::as_str).collect();
        let member = Member {
            archetypes: archetypes.join(", "),
            state: State::Joining,
            lease: None,
            renewed_at: None,
            known: HashSet::new(),
        };
        self.members.insert(registration.peer_id.clone(), member);
    }

    /// Marks a peer that is deregistering.
    pub(super) fn set_leaving(&mut self, id: &PeerId) {
        self.set_state(id, State::Leaving);
    }

    /// Marks a peer that stops sending heartbeats without deregistering.
    pub(super) fn set_crashed(&mut self, id: &PeerId, now: Instant) -> Vec<String> {
        self.set_state(id, State::Crashed);
        self.log_line(now, &format!("{id} crashed: it sends no more heartbeats, and its lease will expire"))
    }

    /// Records an event of a peer's lease. Returns the new lines of the log.
    pub(super) fn record(&mut self, id: &PeerId, event: &Event, now: Instant) -> Vec<String> {
        match event {
            Event::Registered(response) => {
                self.counts.registered += 1;
                let met = self.renew(id, response.ttl_seconds.as_millis(), response.page.as_ref(), now);
                let archetypes =
                    self.members.get(id).map(|member| member.archetypes.clone()).unwrap_or_default();
                self.log_line(now, &format!("{id} joined ({archetypes}) and met {}", list(&met)))
            }
            Event::Renewed(response) => {
                self.counts.renewed += 1;
                let _ = self.renew(id, response.ttl_seconds.as_millis(), response.page.as_ref(), now);
                Vec::new()
            }
            Event::Deregistered => {
                self.counts.left += 1;
                self.members.remove(id);
                self.log_line(now, &format!("{id} left: deregistered"))
            }
            Event::Forgotten => {
                self.log_line(now, &format!("{id} is unknown to the service and registers again"))
            }
            Event::Failed { error, .. } => self.log_line(now, &format!("{id}: a request failed: {error}")),
            Event::TakenOver { reason } => self.log_line(now, &format!("{id} was taken over: {reason}")),
            Event::Moved { from, to } => self.log_line(now, &format!("{id} moved from {from} to {to}")),
            Event::Refused { reason, .. } => self.log_line(now, &format!("{id} was rejected: {reason}")),
            Event::Secured { .. } | Event::Unsecured { .. } | Event::Expired | Event::Recovered { .. } => {
                Vec::new()
            }
        }
    }

    /// Compares the peers with the service's list: a crashed peer that is not in the list has
    /// expired.
    pub(super) fn reconcile(&mut self, listed: &HashSet<PeerId>, now: Instant) -> Vec<String> {
        // A lease is counted here from the moment when its event is recorded, which is later than
        // the moment from which the service counts it. The service may therefore drop a peer from
        // its list shortly before the lease ends here. Until that end, the peer is not shown as
        // expired.
        let has_ended = |member: &Member| member.lease.is_none_or(|(ends, _)| ends <= now);
        let expired: Vec<_> = self
            .members
            .iter()
            .filter(|(id, member)| {
                member.state == State::Crashed && has_ended(member) && !listed.contains(*id)
            })
            .map(|(id, _)| id.clone())
            .collect();
        expired
            .into_iter()
            .flat_map(|id| {
                self.counts.expired += 1;
                self.members.remove(&id);
                self.log_line(now, &format!("{id} expired: it is no longer listed"))
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
    pub(super) fn undiscovered(&self) -> Vec<&PeerId> {
        // Only the peers that live peers know are counted: no peer can be discovered through a
        // crashed one.
        let known: HashSet<&PeerId> = self.live_members().flat_map(|(_, member)| &member.known).collect();
        self.live_members().map(|(id, _)| id).filter(|id| !known.contains(id)).collect()
    }

    /// The number of connected components of the graph of live peers and the peers they know.
    pub(super) fn components(&self) -> usize {
        let mut unvisited: BTreeSet<&PeerId> = self.live_members().map(|(id, _)| id).collect();
        let mut components = 0;
        while let Some(first) = unvisited.pop_first() {
            components += 1;
            // The component of `first` consists of all peers that can be reached from it.
            let mut reached = vec![first];
            while let Some(id) = reached.pop() {
                let neighbours: Vec<_> =
                    unvisited.iter().copied().filter(|other| self.are_connected(id, other)).collect();
                unvisited.retain(|other| !neighbours.contains(other));
                reached.extend(neighbours);
            }
        }
        components
    }

    /// A summary of all events, as a line.
    pub(super) fn summary(&self, now: Instant) -> String {
        let Counts { registered, renewed, left, expired, discovered } = self.counts;
        let (live, seconds) = (self.live(), self.age(now).as_secs_f64());
        let undiscovered: Vec<_> = self.undiscovered().into_iter().cloned().collect();
        let discovery = if undiscovered.is_empty() {
            format!("each of the {live} live peers is known to another peer")
        } else {
            format!("of the {live} live peers, no other peer knows {} yet", list(&undiscovered))
        };
        format!(
            "In {seconds:.0} s: {registered} registered, {renewed} heartbeats, {left} left, {expired} expired, {discovered} times a peer discovered another one; {discovery}."
        )
    }

    /// Records that a lease was acquired or renewed, and the peers that the response lists. Returns
    /// those of them that this peer did not know.
    fn renew(
        &mut self,
        id: &PeerId,
        ttl_millis: u64,
        page: Option<&DiscoveredPage>,
        now: Instant,
    ) -> Vec<PeerId> {
        let Some(member) = self.members.get_mut(id) else { return Vec::new() };
        let ttl = Duration::from_millis(ttl_millis);
        member.lease = Some((now + ttl, ttl));
        member.renewed_at = Some(now);
        // A heartbeat of a peer that is leaving must not make it live again.
        if member.state == State::Joining {
            member.state = State::Live;
        }
        let met: Vec<_> = page
            .into_iter()
            .flat_map(|page| &page.peers)
            .map(|peer| peer.peer_id.clone())
            .filter(|other| member.known.insert(other.clone()))
            .collect();
        self.counts.discovered += u64::try_from(met.len()).unwrap_or(u64::MAX);
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

    fn are_connected(&self, one: &PeerId, other: &PeerId) -> bool {
        let knows = |a, b| self.members.get(a).is_some_and(|member| member.known.contains(b));
        knows(one, other) || knows(other, one)
    }

    fn log_line(&mut self, now: Instant, what: &str) -> Vec<String> {
        let line = format!("{:6.1} s  {what}", self.age(now).as_secs_f64());
        if self.log.len() == MAX_LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line.clone());
        vec![line]
    }
}

fn list(ids: &[PeerId]) -> String {
    let names: Vec<_> = ids.iter().map(PeerId::as_str).collect();
    match names.split_last() {
        None => "no other peer yet".to_owned(),
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
            network.add(&RegisterRequest::new(id(name)));
            network.record(&id(name), &registered(met), now);
        }
        network
    }

    #[test]
    fn a_peer_is_undiscovered_until_another_peer_learns_of_it() {
        let now = Instant::now();
        let mut network = three(now);
        assert_eq!(network.undiscovered(), [&id("b"), &id("c")]);
        assert_eq!(network.components(), 2);
        assert!(network.summary(now).contains("no other peer knows b and c yet"));
        network.record(&id("a"), &renewed(&["b", "c"]), now);
        assert!(network.undiscovered().is_empty());
        assert_eq!(network.components(), 1);
        assert!(network.summary(now).contains("each of the 3 live peers is known to another peer"));
    }

    #[test]
    fn a_crashed_peer_expires_when_its_lease_has_ended_and_it_is_no_longer_listed() {
        let now = Instant::now();
        let mut network = three(now);
        network.set_crashed(&id("a"), now);
        assert_eq!(network.live(), 2);
        let others = HashSet::from([id("b"), id("c")]);
        assert!(network.reconcile(&others, now).is_empty());
        let later = now + Duration::from_secs(3);
        assert!(network.reconcile(&HashSet::from([id("a")]), later).is_empty());
        assert_eq!(network.reconcile(&others, later).len(), 1);
        assert_eq!(network.counts().expired, 1);
        assert!(network.reconcile(&others, later).is_empty());
    }

    #[test]
    fn a_deregistered_peer_is_removed_at_once() {
        let now = Instant::now();
        let mut network = three(now);
        network.set_leaving(&id("c"));
        assert_eq!(network.record(&id("c"), &Event::Deregistered, now).len(), 1);
        assert_eq!((network.live(), network.counts().left), (2, 1));
    }

    #[test]
    fn the_log_is_bounded() {
        let now = Instant::now();
        let mut network = three(now);
        (0..1_000).for_each(|_| drop(network.record(&id("a"), &Event::Forgotten, now)));
        assert_eq!(network.log().count(), MAX_LOG_LINES);
    }
}
