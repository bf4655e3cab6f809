//! Decides which connections are open when more clients want one than there is room for.
//!
//! Without a limit per source, one client could hold all connections. A connection that waits for
//! its client is worth less than a new one, so it makes way: the longest waiting of the source that
//! has the most.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aurora_discovery_registry::Source;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use crate::budget::SOURCE_FRACTION;
use crate::connection::state::ConnectionState;

/// How many connections of a source are compared to find the one that has waited the longest. A
/// random sample bounds the work for each newcomer.
const SAMPLE: usize = 32;

/// How many of the largest sources are tried before a random sample of all connections. All
/// connections of a source may have a request in progress.
const LARGEST_SOURCES: usize = 4;

/// The first source in the order of sources.
const LOWEST_SOURCE: Source = Source::V4(Ipv4Addr::UNSPECIFIED);

/// The open connections, by source.
pub(crate) struct Connections {
    max: usize,
    max_per_source: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_source: HashMap<Source, BTreeMap<u64, Entry>>,
    /// The source of each connection, by the connection's number.
    sources: BTreeMap<u64, Source>,
    hasher: RandomState,
    /// All sources, ordered by their number of connections, and then by a keyed hash, so that no
    /// address is better off than others.
    by_number: BTreeSet<(usize, u64, Source)>,
}

struct Entry {
    state: Arc<ConnectionState>,
    /// The task that serves the connection, once it runs.
    task: Option<AbortHandle>,
}

/// The place of one connection among the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    source: Source,
    /// A random number, so that any neighbours by number are a random sample.
    number: u64,
}

/// A connection that counts as open until this guard is dropped.
pub(crate) struct OpenGuard {
    connections: Arc<Connections>,
    key: Key,
}

/// A connection that was admitted.
pub(crate) struct Admitted {
    pub(crate) guard: OpenGuard,
    pub(crate) key: Key,
    /// Whether another connection was closed for it.
    pub(crate) displaced: bool,
}

impl Connections {
    /// At most `max` connections. If `shared_sources`, many clients share an address, as those
    /// behind a proxy do, and only the total is limited.
    pub(crate) fn new(max: usize, shared_sources: bool) -> Arc<Self> {
        let max_per_source = if shared_sources { max } else { max.div_ceil(SOURCE_FRACTION) };
        Arc::new(Self { max, max_per_source, open: Mutex::default() })
    }

    /// Admits a connection from `address`, if there is room for it or another makes way.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, state: Arc<ConnectionState>) -> Option<Admitted> {
        let source = Source::of(address);
        let mut open = self.open.lock();
        let before = open.total;
        self.make_room(&mut open, source)?;
        let displaced = open.total < before;
        let key = Key { source, number: fastrand::u64(..) };
        open.insert(key, state);
        Some(Admitted { guard: OpenGuard { connections: self.clone(), key }, key, displaced })
    }

    /// Stores the task that serves a connection, so that it can be closed for another.
    pub(crate) fn started(&self, key: Key, task: AbortHandle) {
        let mut open = self.open.lock();
        // The task may have ended in the meantime.
        if let Some(entry) = open.by_source.get_mut(&key.source).and_then(|of| of.get_mut(&key.number)) {
            entry.task = Some(task);
        }
    }

    /// Closes a connection if there is no room for one from `source`. `None` if none may make way.
    fn make_room(&self, open: &mut Open, source: Source) -> Option<()> {
        let own = open.number_of(source);
        if own >= self.max_per_source && !source.is_loopback() {
            return open.displace(source);
        }
        if open.total < self.max {
            return Some(());
        }
        open.largest(own)
            .into_iter()
            .find_map(|source| open.displace(source))
            .or_else(|| open.displace_any(own))
    }
}

impl Open {
    /// Some of the sources with the most connections, if that is more than `own`. Of those with
    /// equally many, a random one comes first.
    fn largest(&self, own: usize) -> Vec<Source> {
        let Some((most, ..)) = self.by_number.last() else { return Vec::new() };
        let from = |hash| (*most, hash, LOWEST_SOURCE);
        let start = from(fastrand::u64(..));
        let tied = self.by_number.range(start..).chain(self.by_number.range(from(0)..start));
        let in_order = tied.chain(self.by_number.range(..from(0)).rev());
        let larger = in_order.take_while(|(number, ..)| *number > own).map(|(.., source)| *source);
        larger.take(LARGEST_SOURCES).collect()
    }

    fn number_of(&self, source: Source) -> usize {
        self.by_source.get(&source).map_or(0, BTreeMap::len)
    }

    fn insert(&mut self, key: Key, state: Arc<ConnectionState>) {
        let of_source = self.by_source.entry(key.source).or_default();
        let before = of_source.len();
        of_source.insert(key.number, Entry { state, task: None });
        self.sources.insert(key.number, key.source);
        self.count(key.source, before);
    }

    fn remove(&mut self, key: Key) -> Option<Entry> {
        let of_source = self.by_source.get_mut(&key.source)?;
        let before = of_source.len();
        let removed = of_source.remove(&key.number)?;
        self.sources.remove(&key.number);
        self.count(key.source, before);
        Some(removed)
    }

    /// Adjusts the counts after the number of connections of `source` has changed.
    fn count(&mut self, source: Source, before: usize) {
        let now = self.number_of(source);
        self.total = self.total + now - before;
        let hash = self.hasher.hash_one(source);
        self.by_number.remove(&(before, hash, source));
        if now > 0 {
            self.by_number.insert((now, hash, source));
        } else {
            self.by_source.remove(&source);
        }
    }

    /// Closes the connection of `source` that has waited for its client the longest. One without a
    /// request goes first. `None` if no connection waits for its client.
    fn displace(&mut self, source: Source) -> Option<()> {
        let of_source = self.by_source.get(&source)?;
        let start = fastrand::u64(..);
        let sample = of_source.range(start..).chain(of_source.range(..start)).take(SAMPLE);
        let waiting = sample.filter_map(|(number, entry)| Some((entry.state.waiting_since()?, *number)));
        let (_, number) = waiting.min()?;
        self.close(Key { source, number })
    }

    /// The same for a random sample of all connections whose sources have more than `own`.
    fn displace_any(&mut self, own: usize) -> Option<()> {
        let start = fastrand::u64(..);
        let sample = self.sources.range(start..).chain(self.sources.range(..start)).take(SAMPLE);
        let waiting =
            sample.filter(|(_, source)| self.number_of(**source) > own).filter_map(|(number, source)| {
                let entry = self.by_source.get(source)?.get(number)?;
                Some((entry.state.waiting_since()?, Key { source: *source, number: *number }))
            });
        let (_, key) = waiting.min_by_key(|(waiting, _)| *waiting)?;
        self.close(key)
    }

    fn close(&mut self, key: Key) -> Option<()> {
        if let Some(task) = self.remove(key)?.task {
            task.abort();
        }
        Some(())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.connections.open.lock().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::ServerOptions;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, n])
    }

    fn state() -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new((&ServerOptions::default()).into()))
    }

    async fn second() {
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    /// Whether the connection is still open.
    fn is_open(connections: &Connections, admitted: &Admitted) -> bool {
        let open = connections.open.lock();
        open.by_source.get(&admitted.key.source).is_some_and(|of| of.contains_key(&admitted.key.number))
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
        // Loopback has no limit of its own.
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let busy = state();
        let in_progress = busy.begin_request(false, false);
        let mut local = vec![connections.admit(loopback, busy.clone()).unwrap()];
        for _ in 0..15 {
            second().await;
            local.push(connections.admit(loopback, state()).unwrap());
        }
        assert!(connections.admit(loopback, state()).is_none(), "the largest source is its own");
        let newcomer = connections.admit(source(4), state()).unwrap();
        assert!(newcomer.displaced && is_open(&connections, &local[0]) && !is_open(&connections, &local[1]));
        assert!(held.iter().all(|held| is_open(&connections, held)));
        drop(in_progress);
    }

    /// All of a hundred services would displace the same of two sources once in 2^99 runs.
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

    #[tokio::test(start_paused = true)]
    async fn connections_that_end_are_forgotten_and_proxies_have_no_share() {
        let connections = Connections::new(16, true);
        let held: Vec<_> = (0..16).map(|_| connections.admit(source(1), state()).unwrap()).collect();
        assert!(held.iter().all(|held| !held.displaced));
        drop(held);
        let open = connections.open.lock();
        assert!(open.total == 0 && open.by_source.is_empty() && open.by_number.is_empty());
    }
}
