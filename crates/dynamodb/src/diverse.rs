//! Diverse samples of a network that is too large to be read completely.
//!
//! One half of a diverse sample is uniform. The other half lists peers from different wide networks
//! (IPv4 /16, IPv6 /32), so that a party with many peers in few networks cannot fill it.
//!
//! Both halves come from the same windows of the ring. A uniform sample picks a few of the several
//! hundred index entries that its windows hold, and ignores the others. Each entry contains the
//! class of its peer's network (a short hash of it, see `lane.rs`). The other entries can therefore
//! serve as candidates for the second half, without further cost:
//!
//! 1. Random windows are read, as for a uniform sample. Their picks are the first half.
//! 2. The other entries are grouped by class. Classes are drawn uniformly, so a class with one
//!    entry is as likely as one with hundreds. From each drawn class, one random entry is taken.
//!    These entries are the second half.
//! 3. The peers of the chosen entries are read, and the live ones that match are listed.
//! 4. If peers are missing, because some were dormant or windows were rejected, another round
//!    follows. The entries of earlier rounds stay candidates.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Query, StoreError, Total, WideNetwork, choose_diverse, diverse_halves};

use crate::core::Core;
use crate::estimate::{Observation, to_u64};
use crate::item::StoredPeer;
use crate::lane::{NetworkClass, RingPosition};
use crate::page::PageBuilder;
use crate::sample::{Entry, MAX_ROUNDS, spare_windows};
use crate::window::Drawn;

impl Core {
    /// Adds a diverse sample of a large network to a page. Returns the estimated number of live
    /// peers that match. `known` is what earlier reads have observed of these peers.
    pub(crate) async fn diverse_sample_from_windows(
        &self,
        page: &mut PageBuilder<'_>,
        query: &Query,
        mut known: Observation,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let (mut uniform_left, mut different_left) = diverse_halves(query.limit);
        let mut candidates = Candidates::new(query);
        for round in 0..MAX_ROUNDS {
            // Splits the number of peers that the page still needs between the two halves. Some of
            // the chosen peers may be dormant, so more entries are chosen than peers are needed.
            let missing = page.missing().min(page.readable());
            let different = different_left.min(missing / 2);
            let uniform = known.entries_needed_for(uniform_left.min(missing - different));
            let different = known.entries_needed_for(different);
            // Reads windows only if the picks of earlier rounds do not suffice.
            let mut seen = Observation::default();
            let more = uniform.saturating_sub(candidates.picks.len());
            if more > 0 {
                let counts = (query.limit.div_ceil(2), more);
                let spare = spare_windows(round).min(page.readable().saturating_sub(1));
                let drawn = self.draw_windows(query, &known, counts, spare).await?;
                seen = drawn.1;
                candidates.add(drawn.0);
            }
            let mut chosen = candidates.take_picks(uniform);
            let from_networks = candidates.take_from_networks(different);
            // If fewer networks were drawn than the second half needs, for example because the
            // windows held too few, further uniform picks replace the missing ones.
            let lacking = different_left.saturating_sub(from_networks.len());
            (uniform_left, different_left) = (uniform_left + lacking, different_left - lacking);
            // The peers of both halves are read in one batch. `classes` contains the peers of the
            // second half and their classes.
            chosen.extend(from_networks.iter().map(|(position, peer, _)| (*position, peer.clone())));
            let classes: HashMap<PeerId, NetworkClass> =
                from_networks.into_iter().map(|(_, peer, class)| (peer, class)).collect();
            let read = chosen.len();
            let peers = self.read_matching(chosen, query, &mut seen, now).await?;
            page.charge(seen.half_units, read);
            known = self.sizes.add(&query.archetypes, &seen);
            // `peers` is shuffled, and contains only live peers that match. Once a half is
            // complete, its remaining peers are not listed.
            for stored in peers {
                let class = classes.get(&stored.registration.peer_id);
                let left = if class.is_some() { &mut different_left } else { &mut uniform_left };
                if *left > 0
                    && class.is_none_or(|class| candidates.claim_network(*class, &stored))
                    && page.push(&stored)
                {
                    *left -= 1;
                }
            }
            if page.is_full() || page.left() < page.groups() {
                break;
            }
        }
        Ok(Total::Estimate(known.estimated_live().max(to_u64(page.len()))))
    }
}

/// The index entries in the windows that were read, except those that were taken.
struct Candidates {
    /// Uniform picks in the order in which they were drawn.
    picks: VecDeque<(RingPosition, PeerId)>,
    /// All other entries, by the class of their network. Once a live peer of a class was drawn, the
    /// entries of the class are removed.
    by_class: BTreeMap<NetworkClass, Vec<(RingPosition, PeerId)>>,
    /// The peers that were taken, and the peer that the query excludes.
    taken: HashSet<PeerId>,
    /// The networks of the peers that the second half lists.
    networks: HashSet<WideNetwork>,
}

impl Candidates {
    fn new(query: &Query) -> Self {
        let taken = query.exclude.iter().cloned().collect();
        Self { picks: VecDeque::new(), by_class: BTreeMap::new(), taken, networks: HashSet::new() }
    }

    fn add(&mut self, drawn: Drawn<Entry>) {
        self.picks.extend(drawn.picks.into_iter().map(|(position, peer, _)| (position, peer)));
        for (position, peer, class) in drawn.others {
            self.by_class.entry(class).or_default().push((position, peer));
        }
    }

    /// Takes up to `count` uniform picks that were not taken before.
    fn take_picks(&mut self, count: usize) -> Vec<(RingPosition, PeerId)> {
        let mut picks = Vec::with_capacity(count.min(self.picks.len()));
        // Windows may overlap, so several of them may hold the same entry.
        while picks.len() < count
            && let Some((position, peer)) = self.picks.pop_front()
        {
            if self.taken.insert(peer.clone()) {
                picks.push((position, peer));
            }
        }
        picks
    }

    /// Draws up to `count` classes uniformly, and takes one entry of each.
    fn take_from_networks(&mut self, count: usize) -> Vec<Entry> {
        let mut classes: Vec<NetworkClass> = self.by_class.keys().copied().collect();
        fastrand::shuffle(&mut classes);
        let entries = classes.into_iter().filter_map(|class| {
            let (position, peer) = self.take_of_class(class)?;
            Some((position, peer, class))
        });
        entries.take(count).collect()
    }

    /// Takes a random entry of a class. `None` if all of them were taken before.
    fn take_of_class(&mut self, class: NetworkClass) -> Option<(RingPosition, PeerId)> {
        let entries = self.by_class.get_mut(&class)?;
        while !entries.is_empty() {
            let (position, peer) = entries.swap_remove(fastrand::usize(..entries.len()));
            if self.taken.insert(peer.clone()) {
                return Some((position, peer));
            }
        }
        None
    }

    /// Decides whether to list a live peer, whose entry was drawn from `class`. The peer is not
    /// listed if the second half already lists a peer of its network. In either case, the other
    /// entries of this class that were read so far are dropped.
    ///
    /// This is not called for a peer that turned out to be dormant, so another entry of its class
    /// can be drawn in the next round.
    fn claim_network(&mut self, class: NetworkClass, stored: &StoredPeer) -> bool {
        self.by_class.remove(&class);
        // Entries that an earlier release wrote have a random class, so peers of one network may
        // have different classes. The item of the peer, which has been read by now, contains the
        // network itself.
        self.networks.insert(stored.holder.source.wide_network())
    }
}

/// Arranges the entries of a complete list in the order of a diverse sample, but reversed: the
/// caller takes entries from the end of the vector. The given entries must be shuffled. Networks
/// are distinguished by their classes.
pub(crate) fn in_diverse_order(
    entries: Vec<(RingPosition, (PeerId, NetworkClass))>,
) -> Vec<(RingPosition, PeerId)> {
    let count = entries.len();
    let candidates = entries.into_iter().map(|(position, (peer, class))| ((position, peer), class));
    let mut chosen = choose_diverse(candidates.collect(), count, &mut |below| fastrand::u32(..below));
    chosen.reverse();
    chosen
}

/// The rank of each peer in the order of a diverse sample. A batch read loses this order, and
/// `sort` restores it. If the sample is not diverse, no peer has a rank.
pub(crate) struct DiverseOrder(HashMap<PeerId, usize>);

impl DiverseOrder {
    /// The ranks of entries that [`in_diverse_order`] has arranged, if the sample is `diverse`.
    pub(crate) fn of(entries: &[(RingPosition, PeerId)], diverse: bool) -> Self {
        let ranked = if diverse { entries } else { &[] };
        Self(ranked.iter().rev().enumerate().map(|(rank, (_, peer))| (peer.clone(), rank)).collect())
    }

    /// Sorts peers by their ranks. If the sample is not diverse, the peers stay as they are.
    pub(crate) fn sort(&self, peers: &mut [Arc<StoredPeer>]) {
        peers.sort_by_key(|stored| self.0.get(&stored.registration.peer_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::tests::SECRET;

    fn entry(n: u32, class: NetworkClass) -> Entry {
        let peer = PeerId::parse(&format!("p{n}")).unwrap();
        (SECRET.position(&peer), peer, class)
    }

    fn class(network: u8) -> NetworkClass {
        SECRET.class(aurora_discovery_registry::Source::V4([10, network, 0, 1].into()))
    }

    fn query() -> Query {
        Query {
            archetypes: Vec::new(),
            exclude: None,
            view: aurora_discovery_protocol::View::Legacy,
            limit: 20,
            page_bytes: 1 << 20,
            diverse: true,
            fill: false,
        }
    }

    #[test]
    fn classes_are_drawn_uniformly_and_each_gives_one_entry() {
        // One network with 400 entries, and ten networks with one entry each.
        let crowd = (0..400).map(|n| entry(n, class(0)));
        let others: Vec<_> = crowd.chain((1..11).map(|n| entry(400 + u32::from(n), class(n)))).collect();
        let mut counts = HashMap::new();
        for _ in 0..4_000 {
            let mut candidates = Candidates::new(&query());
            candidates.add(Drawn { picks: Vec::new(), others: others.clone(), entries: 410 });
            let taken = candidates.take_from_networks(5);
            assert_eq!(taken.iter().map(|(_, _, class)| class).collect::<HashSet<_>>().len(), 5);
            // Only the large network has a second entry.
            let again = usize::from(taken.iter().any(|(_, _, drawn)| *drawn == class(0)));
            assert_eq!(candidates.take_from_networks(20).len(), 6 + again);
            taken.into_iter().for_each(|(_, _, class)| *counts.entry(class).or_insert(0) += 1);
        }
        // Five of eleven classes are drawn 4,000 times. Each class is therefore expected 1,818
        // times, with a standard deviation of 31.
        assert!(
            counts.len() == 11 && counts.values().all(|count| (1_550..2_080).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn an_entry_in_several_windows_is_taken_once() {
        let mut candidates = Candidates::new(&query());
        let twice = [entry(1, class(1)), entry(1, class(1)), entry(2, class(2))];
        candidates.add(Drawn { picks: twice[..2].to_vec(), others: twice.to_vec(), entries: 3 });
        assert_eq!(candidates.take_picks(5).len(), 1);
        let of_networks = candidates.take_from_networks(5);
        assert_eq!(of_networks, [entry(2, class(2))]);
    }
}
