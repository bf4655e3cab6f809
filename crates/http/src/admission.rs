//! Decides which connections are admitted, and which are closed for others when a limit is reached.
//!
//! Each source (an IPv4 address or an IPv6 /64) and each network (an IPv4 /24, an IPv6 /56 or an
//! IPv6 /48) may have only a part of all connections. Otherwise one client, possibly with several
//! addresses, could hold all of them.
//!
//! If there is no room for a new connection, the server closes one that waits for its client,
//! because that client may never send anything more. The server prefers sources that have many
//! connections, and of those that it compares, the connection that has waited the longest.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_registry::Source;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::connection::state::ConnectionState;
use crate::group::Group;

/// How many connections of a group are compared to find the one that has waited the longest. A
/// random sample bounds the work for each new connection.
const SAMPLE: usize = 32;

/// When the total limit is reached, the server first looks for a connection to close among those of
/// this many sources, the ones with the most connections. If it finds none that waits for its
/// client, it searches a random sample of all connections.
const LARGEST_SOURCES: usize = 4;

/// The open connections.
pub(crate) struct Connections {
    max: usize,
    /// Whether many clients share an address, as those behind a proxy do. Then only the total is
    /// limited.
    shared_sources: bool,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    /// The connections by their ids. The ids are random, so any range of successive ids is a random
    /// sample of the connections.
    entries: HashMap<u64, Entry>,
    /// The ids of all connections, in order.
    all: BTreeSet<u64>,
    /// The ids of the connections of each group, in order.
    groups: HashMap<Group, BTreeSet<u64>>,
    /// All sources, ordered by their number of connections. Sources with the same number are
    /// ordered by a hash with a random key. If they were ordered by address, the same sources would
    /// always be the first to lose connections.
    by_count: BTreeSet<(usize, u64, Source)>,
    hasher: RandomState,
}

struct Entry {
    source: Source,
    state: Arc<ConnectionState>,
    /// The task that serves the connection, once it runs.
    task: Option<AbortHandle>,
}

/// The id of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionId(u64);

/// A connection that counts as open until this guard is dropped.
pub(crate) struct OpenGuard {
    connections: Arc<Connections>,
    id: ConnectionId,
}

/// A connection that was admitted.
pub(crate) struct Admitted {
    pub(crate) guard: OpenGuard,
    pub(crate) id: ConnectionId,
    /// Whether another connection was closed for it.
    pub(crate) displaced: bool,
}

impl Connections {
    /// At most `max` connections. If `shared_sources`, many clients share an address, as those
    /// behind a proxy do, and only the total is limited.
    pub(crate) fn new(max: usize, shared_sources: bool) -> Arc<Self> {
        Arc::new(Self { max, shared_sources, open: Mutex::default() })
    }

    /// Admits a connection from `address`, if there is room for it or if another connection can be
    /// closed for it.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, state: Arc<ConnectionState>) -> Option<Admitted> {
        let source = Source::of(address);
        let mut open = self.open.lock();
        let before = open.entries.len();
        self.make_room(&mut open, source)?;
        let displaced = open.entries.len() < before;
        let id = open.insert(source, state);
        Some(Admitted { guard: OpenGuard { connections: self.clone(), id }, id, displaced })
    }

    /// Stores the task that serves a connection, so that the connection can be closed for another
    /// one.
    pub(crate) fn started(&self, id: ConnectionId, task: AbortHandle) {
        // The task may have ended in the meantime.
        if let Some(entry) = self.open.lock().entries.get_mut(&id.0) {
            entry.task = Some(task);
        }
    }

    /// Makes room for a connection from `source`, if necessary by closing another connection.
    /// `None` if there is no room and no connection that may be closed.
    fn make_room(&self, open: &mut Open, source: Source) -> Option<()> {
        let own = open.count_of(source);
        match Group::all_of(source).find(|group| self.is_full(open, *group, source)) {
            None if open.all.len() < self.max => Some(()),
            None => {
                // The total number of connections has reached its maximum. Only a source that has
                // more connections than `source` loses one.
                let larger = open.by_count.iter().rev().take_while(|(count, ..)| *count > own);
                let largest: Vec<_> = larger.take(LARGEST_SOURCES).map(|(.., source)| *source).collect();
                let mut largest = largest.into_iter().map(Group::Source);
                largest.find_map(|group| open.displace(Some(group), 0)).or_else(|| open.displace(None, own))
            }
            // A source that has reached its share loses one of its own connections.
            Some(group @ Group::Source(_)) => open.displace(Some(group), 0),
            // In a network that has reached its share, a source that has more connections than
            // `source` loses one. If there is none, `source` loses one of its own.
            Some(group @ Group::Network(_)) => {
                open.displace(Some(group), own).or_else(|| open.displace(Some(Group::Source(source)), 0))
            }
        }
    }

    /// Whether `group`, to which `source` belongs, has reached its share of all connections.
    fn is_full(&self, open: &Open, group: Group, source: Source) -> bool {
        // Clients behind a proxy on this machine share its loopback address, so only the total is
        // limited for it.
        let is_limited = !self.shared_sources && !source.is_loopback();
        is_limited && open.count_in(group) >= self.max.div_ceil(group.fraction())
    }
}

impl Open {
    fn count_in(&self, group: Group) -> usize {
        self.groups.get(&group).map_or(0, BTreeSet::len)
    }

    fn count_of(&self, source: Source) -> usize {
        self.count_in(Group::Source(source))
    }

    fn insert(&mut self, source: Source, state: Arc<ConnectionState>) -> ConnectionId {
        let id = fastrand::u64(..);
        let before = self.count_of(source);
        self.entries.insert(id, Entry { source, state, task: None });
        self.all.insert(id);
        for group in Group::all_of(source) {
            self.groups.entry(group).or_default().insert(id);
        }
        self.reorder(source, before);
        ConnectionId(id)
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let removed = self.entries.remove(&id)?;
        let before = self.count_of(removed.source);
        self.all.remove(&id);
        for group in Group::all_of(removed.source) {
            if let Some(ids) = self.groups.get_mut(&group) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
        self.reorder(removed.source, before);
        Some(removed)
    }

    /// Updates the position of `source` in `by_count` after its number of connections has changed
    /// from `before`.
    fn reorder(&mut self, source: Source, before: usize) {
        let hash = self.hasher.hash_one(source);
        self.by_count.remove(&(before, hash, source));
        let now = self.count_of(source);
        if now > 0 {
            self.by_count.insert((now, hash, source));
        }
    }

    /// Closes a connection that waits for its client. `None` if there is none to close.
    ///
    /// The connection is chosen from a random sample of the connections of `group`, or of all
    /// connections if `group` is `None`. Sources that have at most `above` connections are spared.
    /// Of the others, the source with the most connections loses one. A connection without a
    /// request in progress is preferred. If there are several, the one that has waited the longest
    /// is closed.
    fn displace(&mut self, group: Option<Group>, above: usize) -> Option<()> {
        let ids = match group {
            Some(group) => self.groups.get(&group)?,
            None => &self.all,
        };
        let start = fastrand::u64(..);
        let sample = ids.range(start..).chain(ids.range(..start)).take(SAMPLE);
        let waiting = sample.filter_map(|id| {
            let entry = self.entries.get(id)?;
            let count_of_source = self.count_of(entry.source);
            let waiting_since = entry.state.waiting_since().filter(|_| count_of_source > above)?;
            Some((Reverse(count_of_source), waiting_since, *id))
        });
        let (.., id) = waiting.min()?;
        if let Some(task) = self.remove(id)?.task {
            task.abort();
        }
        Some(())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.connections.open.lock().remove(self.id.0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::ServerOptions;

    /// Addresses of different networks.
    fn source(n: u8) -> IpAddr {
        IpAddr::from([203, 0, n, 7])
    }

    fn state() -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new((&ServerOptions::default()).into()))
    }

    async fn second() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    /// Whether the connection is still open.
    fn is_open(connections: &Connections, admitted: &Admitted) -> bool {
        connections.open.lock().entries.contains_key(&admitted.id.0)
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_connection_of_the_largest_source_makes_way() {
        let connections = Connections::new(24, false);
        let mut held = Vec::new();
        for (n, number) in [(1, 3), (2, 3), (3, 2)] {
            for _ in 0..number {
                held.push(connections.admit(source(n), state()).unwrap());
                second().await;
            }
        }
        // Connections from a loopback address are limited only in total.
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let busy = state();
        let in_progress = busy.begin_request(false, false);
        let mut local = vec![connections.admit(loopback, busy.clone()).unwrap()];
        for _ in 0..15 {
            second().await;
            local.push(connections.admit(loopback, state()).unwrap());
        }
        assert!(connections.admit(loopback, state()).is_none(), "no other source has more connections");
        let newcomer = connections.admit(source(4), state()).unwrap();
        assert!(newcomer.displaced && is_open(&connections, &local[0]) && !is_open(&connections, &local[1]));
        assert!(held.iter().all(|held| is_open(&connections, held)));
        drop(in_progress);
    }

    /// Fails by chance once in 2^99 runs, if all of a hundred servers displace the same one of the
    /// two sources.
    #[tokio::test(start_paused = true)]
    async fn which_of_two_equal_sources_makes_way_does_not_depend_on_its_address() {
        let mut displaced = [0; 2];
        for _ in 0..100 {
            let connections = Connections::new(4, true);
            let held: Vec<_> =
                [1, 1, 2, 2].iter().map(|n| connections.admit(source(*n), state()).unwrap()).collect();
            assert!(connections.admit(source(3), state()).unwrap().displaced);
            let closed = held.iter().position(|held| !is_open(&connections, held)).unwrap();
            displaced[closed / 2] += 1;
        }
        assert!(displaced.iter().all(|count| *count > 0), "{displaced:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_source_does_not_protect_the_others() {
        let connections = Connections::new(4, true);
        let busy: Vec<_> = (0..3).map(|_| state()).collect();
        let requests: Vec<_> = busy.iter().map(|state| state.begin_request(false, false)).collect();
        let held: Vec<_> = busy.iter().map(|state| connections.admit(source(1), state.clone())).collect();
        let idle = connections.admit(source(2), state()).unwrap();
        assert!(connections.admit(source(3), state()).unwrap().displaced && !is_open(&connections, &idle));
        drop((requests, held));
    }

    #[tokio::test(start_paused = true)]
    async fn many_busy_sources_do_not_protect_the_others() {
        let connections = Connections::new(26, true);
        let busy: Vec<_> = (0..12).map(|_| state()).collect();
        let requests: Vec<_> = busy.iter().map(|state| state.begin_request(false, false)).collect();
        let admit = |n, state: &Arc<ConnectionState>| connections.admit(source(n), state.clone()).unwrap();
        let held: Vec<_> = (1..=6)
            .zip(busy.chunks(2))
            .map(|(n, pair)| [&pair[0], &pair[1]].map(|state| admit(n, state)))
            .collect();
        let idle: Vec<_> = (10..24).map(|n| admit(n, &state())).collect();
        assert!(admit(99, &state()).displaced);
        assert_eq!(idle.iter().filter(|idle| !is_open(&connections, idle)).count(), 1);
        drop((requests, held));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_over_its_share_displaces_its_own_connections() {
        let connections = Connections::new(16, false);
        let held: Vec<_> = (0..2).map(|_| connections.admit(source(1), state()).unwrap()).collect();
        second().await;
        let states: Vec<_> = (0..2).map(|_| state()).collect();
        let requests: Vec<_> = states.iter().map(|state| state.begin_request(false, false)).collect();
        let busy: Vec<_> =
            states.iter().map(|state| connections.admit(source(1), state.clone()).unwrap()).collect();
        assert!(held.iter().all(|held| !is_open(&connections, held)));
        assert!(busy.iter().all(|busy| busy.displaced && is_open(&connections, busy)));
        assert!(connections.admit(source(1), state()).is_none(), "no connection waits for its client");
        assert!(!connections.admit(source(2), state()).unwrap().displaced);
        drop(requests);
    }

    /// How many connections are open after each of these addresses has opened eight. The maximum is
    /// 64.
    fn open_of(addresses: impl IntoIterator<Item = String>) -> usize {
        let connections = Connections::new(64, false);
        let mut held = Vec::new();
        for address in addresses {
            held.extend((0..8).filter_map(|_| connections.admit(address.parse().unwrap(), state())));
        }
        connections.open.lock().entries.len()
    }

    #[tokio::test(start_paused = true)]
    async fn networks_have_larger_shares() {
        assert_eq!(open_of(["203.0.113.1".to_owned()]), 8, "an address");
        assert_eq!(open_of((1..100).map(|n| format!("203.0.113.{n}"))), 16, "a /24");
        assert_eq!(open_of((1..100).map(|n| format!("2001:db8:0:{n:x}::1"))), 16, "a /56");
        assert_eq!(open_of((1..100).map(|n| format!("2001:db8:0:{n:x}00::1"))), 32, "a /48");
        assert_eq!(open_of((1..100).map(|n| format!("2001:db8:{n:x}::1"))), 64, "independent networks");
        assert_eq!(open_of((1..100).map(|n| format!("127.0.0.{n}"))), 64, "loopback");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_in_a_full_network_displaces_its_larger_neighbours() {
        let connections = Connections::new(32, false);
        let admit = |n| connections.admit(IpAddr::from([203, 0, 113, n]), state());
        let held: Vec<_> = [1, 1, 1, 1, 2, 2, 2, 3].into_iter().map(|n| admit(n).unwrap()).collect();
        let newcomers: Vec<_> = (10..15).map(|n| admit(n).unwrap()).collect();
        assert!(newcomers.iter().all(|newcomer| newcomer.displaced && is_open(&connections, newcomer)));
        assert!(is_open(&connections, &held[7]), "a source with a single connection keeps it");
        let other_network = connections.admit(IpAddr::from([198, 51, 100, 1]), state()).unwrap();
        assert!(!other_network.displaced);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_end_are_forgotten_and_proxies_have_no_share() {
        let connections = Connections::new(16, true);
        let held: Vec<_> = (0..16).map(|_| connections.admit(source(1), state()).unwrap()).collect();
        assert!(held.iter().all(|held| !held.displaced));
        drop(held);
        let open = connections.open.lock();
        assert!(open.entries.is_empty() && open.all.is_empty());
        assert!(open.groups.is_empty() && open.by_count.is_empty());
    }
}
