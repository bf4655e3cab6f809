//! Diverse samples: half uniform, half from different wide networks.
//!
//! A query for all peers draws from all networks, which [`NetworkLists`] keeps. There are no such
//! lists per archetype, because they would take memory for each archetype of each peer. A query by
//! archetype therefore draws a uniform sample of candidates, and draws from the networks of these
//! candidates.
//!
//! [`NetworkLists`]: super::super::networks::NetworkLists

use std::collections::HashSet;
use std::hint::black_box;

use aurora_discovery_registry::{
    CANDIDATES_PER_PEER, Query, Total, choose_diverse, diverse_halves, interleave,
};

use super::super::Index;
use super::super::listing::Scope;
use super::super::members::Members;
use super::{Draws, total_of_one};

impl Index {
    /// A diverse sample of slots, and the number of matching peers.
    pub(super) fn sample_diversely(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let (chosen, total) = match (query.archetypes.is_empty(), &*scope.members) {
            (true, [live]) => self.sample_of_networks(live, scope, query, random),
            _ => self.sample_of_candidates(scope, query, random),
        };
        self.touch(&chosen, scope);
        (chosen, total)
    }

    fn sample_of_networks(
        &self,
        live: &Members,
        scope: &Scope<'_>,
        query: &Query,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let excluded = self.excluded(query, scope);
        let mut listed: HashSet<u32> = HashSet::with_capacity(query.limit.min(live.len()).saturating_add(1));
        listed.extend(excluded);
        let (uniform, different) = diverse_halves(query.limit);
        let mut draws = Draws::new(scope.positions(), query.limit);
        let uniform = take_unlisted(live.as_slice(), &mut draws, uniform, &mut listed, random);
        let mut from_networks = Vec::with_capacity(different.min(self.networks.len()));
        let mut networks = Draws::new(u32::try_from(self.networks.len()).unwrap_or(u32::MAX), different);
        while from_networks.len() < different
            && let Some(network) = networks.next(random)
        {
            // A draw within a network is rejected only if it hits a listed peer. Each network is
            // drawn at most once, so each listed peer is hit at most once. The cost therefore stays
            // proportional to the size of the sample.
            let members = self.networks.at(network);
            let mut draws = Draws::new(u32::try_from(members.len()).unwrap_or(u32::MAX), 1);
            from_networks.extend(take_unlisted(members, &mut draws, 1, &mut listed, random));
        }
        // If there are too few networks, the uniform draws continue.
        let missing = different - from_networks.len();
        from_networks.extend(take_unlisted(live.as_slice(), &mut draws, missing, &mut listed, random));
        (interleave(uniform, from_networks), total_of_one(live, excluded))
    }

    fn sample_of_candidates(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let drawn = query.limit.saturating_mul(CANDIDATES_PER_PEER);
        let (candidates, total) = self.sample_uniformly(scope, query, drawn, random);
        // The tails are requested all at once, so that the waits for memory overlap.
        black_box(candidates.iter().fold(0, |all, slot| all ^ self.slots.tail(*slot).touch()));
        let network = |slot: u32| self.slots.tail(slot).source.unpack().wide_network();
        let candidates = candidates.into_iter().map(|slot| (slot, network(slot))).collect();
        (choose_diverse(candidates, query.limit, random), total)
    }
}

/// Draws up to `count` slots that are not listed yet, and lists them.
fn take_unlisted(
    slots: &[u32],
    draws: &mut Draws,
    count: usize,
    listed: &mut HashSet<u32>,
    random: &mut impl FnMut(u32) -> u32,
) -> Vec<u32> {
    let mut taken = Vec::with_capacity(count.min(slots.len()));
    while taken.len() < count
        && let Some(position) = draws.next(random)
    {
        let slot = slots[position as usize];
        if listed.insert(slot) {
            taken.push(slot);
        }
    }
    taken
}
