//! A graph whose nodes are the live peers. An edge connects two peers if at least one of them knows
//! the other.

use super::population::Population;
use super::view::Views;

/// The robustness test removes the best-known peers, all at once: one in this many of all peers.
const REMOVED_ONE_IN: usize = 50;

/// The state of the graph at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Peers that are running and registered.
    pub(crate) live: u32,
    /// The number of connected components.
    pub(crate) components: u32,
    /// The number of peers in the largest component.
    pub(crate) largest: u32,
    /// Peers that know no live peer and that no live peer knows.
    pub(crate) isolated: u32,
    /// Peers that registered at least a lease ago and that no live peer knows.
    pub(crate) unknown: u32,
    /// The longest time, in seconds, since a live peer was last listed in a response, or since it
    /// registered if that is later.
    pub(crate) unlisted_seconds: u32,
}

/// Buffers that are reused for each analysis.
#[derive(Default)]
pub(crate) struct Graph {
    /// The parent of each peer in the union-find forest of components.
    parents: Vec<u32>,
    /// For a root: the number of peers in its component.
    sizes: Vec<u32>,
    /// The number of live peers that know each peer.
    known_by: Vec<u32>,
}

impl Graph {
    pub(crate) fn measure(
        &mut self,
        population: &Population,
        views: &Views,
        lease: u32,
        now: u32,
    ) -> Figures {
        self.connect(population, views, |_| true);
        let mut figures = Figures::default();
        for peer in population.members() {
            let since = population.member_since(peer).unwrap_or(now);
            let (at, waited) = (peer as usize, now - views.listed_at(peer).max(since));
            figures.live += 1;
            // Each component has exactly one root, which has the component's size.
            if self.parents[at] == peer {
                figures.components += 1;
                figures.isolated += u32::from(self.sizes[at] == 1);
                figures.largest = figures.largest.max(self.sizes[at]);
            }
            figures.unknown += u32::from(self.known_by[at] == 0 && now - since >= lease);
            figures.unlisted_seconds = figures.unlisted_seconds.max(waited);
        }
        figures
    }

    /// The share of the remaining peers that are in the largest component if the best-known
    /// fiftieth of all peers disappears at this moment. A peer is better known than another if more
    /// live peers know it.
    pub(crate) fn connected_share_without_best_known(
        &mut self,
        population: &Population,
        views: &Views,
    ) -> f64 {
        self.connect(population, views, |_| true);
        // Only the set of the best-known peers matters, so a partial sort suffices.
        let mut ranked: Vec<u32> = population.members().collect();
        let removed_count = ranked.len().div_ceil(REMOVED_ONE_IN);
        if ranked.len() <= removed_count {
            return 0.0;
        }
        ranked.select_nth_unstable_by_key(removed_count, |peer| {
            std::cmp::Reverse(self.known_by[*peer as usize])
        });
        let mut removed = vec![false; population.total()];
        ranked[..removed_count].iter().for_each(|peer| removed[*peer as usize] = true);
        self.connect(population, views, |peer| !removed[peer as usize]);
        let left = ranked[removed_count..].iter().map(|peer| *peer as usize);
        let largest = left.map(|at| self.sizes[at]).max().unwrap_or(0);
        f64::from(largest) / (ranked.len() - removed_count) as f64
    }

    /// Recomputes the components and the counts for the members for which `is_included` returns
    /// true. Connects two of these members if one of them knows the other.
    fn connect(&mut self, population: &Population, views: &Views, is_included: impl Fn(u32) -> bool) {
        let total = u32::try_from(population.total()).unwrap_or(u32::MAX);
        self.parents.clear();
        self.parents.extend(0..total);
        for counts in [&mut self.sizes, &mut self.known_by] {
            counts.clear();
            counts.resize(population.total(), 0);
        }
        let is_present = |peer: u32| population.member_since(peer).is_some() && is_included(peer);
        population.members().filter(|peer| is_present(*peer)).for_each(|peer| self.sizes[peer as usize] = 1);
        for peer in population.members().filter(|peer| is_present(*peer)) {
            for known in views.known_to(peer).iter().filter(|known| is_present(**known)) {
                self.known_by[*known as usize] += 1;
                self.join(peer, *known);
            }
        }
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        if one == other {
            return;
        }
        // Union by size: the smaller tree is attached to the larger one.
        let (small, large) =
            if self.sizes[one as usize] < self.sizes[other as usize] { (one, other) } else { (other, one) };
        self.parents[small as usize] = large;
        self.sizes[large as usize] += self.sizes[small as usize];
    }

    /// The root of a peer's tree. Path halving keeps the trees flat: every visited peer is attached
    /// to its grandparent.
    fn root(&mut self, peer: u32) -> u32 {
        let mut at = peer;
        while self.parents[at as usize] != at {
            let grandparent = self.parents[self.parents[at as usize] as usize];
            self.parents[at as usize] = grandparent;
            at = grandparent;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: u32 = 300;
    const NOW: u32 = 1_000;

    /// The figures of a network in which peer `n` knows the peers in `known[n]`. All peers
    /// registered at time 0 and got their responses at time 10.
    fn figures(known: &[&[u32]]) -> Figures {
        let (population, views) = network(known);
        Graph::default().measure(&population, &views, LEASE, NOW)
    }

    fn network(known: &[&[u32]]) -> (Population, Views) {
        let (mut population, mut views) = (Population::default(), Views::new(20, 1));
        for _ in known {
            let peer = population.start();
            population.registered(peer, 0);
            views.add(0);
        }
        for (peer, known) in (0..).zip(known) {
            views.learn(peer, known, 10);
        }
        (population, views)
    }

    #[test]
    fn an_edge_connects_two_peers_in_either_direction() {
        let figures = figures(&[&[1], &[2], &[], &[2]]);
        assert_eq!((figures.components, figures.largest, figures.isolated), (1, 4, 0));
        assert_eq!(figures.unknown, 2, "0 and 3 know others, but no peer knows them");
    }

    #[test]
    fn a_peer_without_edges_is_isolated() {
        let figures = figures(&[&[1], &[0], &[], &[4], &[3]]);
        assert_eq!((figures.live, figures.components, figures.largest), (5, 3, 2));
        assert_eq!((figures.isolated, figures.unknown), (1, 1));
    }

    #[test]
    fn a_stopped_or_unregistered_peer_has_no_edges() {
        let (mut population, mut views) = network(&[&[1], &[]]);
        let waiting = population.start();
        views.add(NOW);
        views.learn(waiting, &[0, 1], NOW);
        let figures = Graph::default().measure(&population, &views, LEASE, NOW);
        assert_eq!((figures.live, figures.components), (2, 1));
        let stopped = population.stop_random(&mut fastrand::Rng::with_seed(1)).unwrap();
        let figures = Graph::default().measure(&population, &views, LEASE, NOW);
        assert_eq!(figures.components, if stopped == waiting { 1 } else { figures.live });
    }

    #[test]
    fn a_peer_younger_than_a_lease_does_not_count_as_unknown() {
        let (mut population, mut views) = network(&[&[1], &[0]]);
        let newcomer = population.start();
        views.add(NOW - LEASE + 1);
        population.registered(newcomer, NOW - LEASE + 1);
        let mut graph = Graph::default();
        assert_eq!(graph.measure(&population, &views, LEASE, NOW).unknown, 0);
        assert_eq!(graph.measure(&population, &views, LEASE, NOW + 1).unknown, 1);
    }

    #[test]
    fn unlisted_time_counts_from_the_last_response_that_listed_the_peer() {
        assert_eq!(figures(&[&[1], &[0]]).unlisted_seconds, NOW - 10);
        assert_eq!(figures(&[&[1], &[]]).unlisted_seconds, NOW);
    }

    #[test]
    fn without_its_best_known_peers_a_star_falls_apart_but_a_thick_ring_does_not() {
        let star: Vec<&[u32]> = vec![&[0]; 100];
        let (population, views) = network(&star);
        let left = Graph::default().connected_share_without_best_known(&population, &views);
        assert!((left - 1.0 / 98.0).abs() < 1e-9, "{left}");
        // Each peer knows the next ten, so the removal of two single peers disconnects nothing.
        let next: Vec<Vec<u32>> =
            (0..100).map(|peer| (1..=10).map(|step| (peer + step) % 100).collect()).collect();
        let ring: Vec<&[u32]> = next.iter().map(Vec::as_slice).collect();
        let (population, views) = network(&ring);
        let left = Graph::default().connected_share_without_best_known(&population, &views);
        assert!((left - 1.0).abs() < 1e-9, "{left}");
    }
}
