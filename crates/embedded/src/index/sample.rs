//! Draws uniform random samples of the matching peers, at a cost proportional to the size of the
//! sample.
//!
//! Each archetype has a dense array of its live members. A query for several archetypes draws
//! positions from the concatenation of their arrays, without building it. A peer with several of
//! the queried archetypes has several positions there, so drawing positions alone would prefer it.
//! Therefore a drawn position counts only if it is the peer's first one, that is, if the peer has
//! none of the archetypes that come earlier in the query. Every matching peer has exactly one such
//! position. The draws are uniform over all positions, so they are uniform over the positions that
//! count, and hence over the peers. This is rejection sampling: other positions are dropped and
//! replaced by further draws.
//!
//! With `k` queried archetypes a peer has at most `k` positions, so on average at least one draw in
//! `k` counts, and the cost stays proportional to the size of the sample.

mod diverse;

use std::hint::black_box;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Page, Query, Total};

use super::Index;
use super::listing::Scope;
use super::members::Members;

/// Minimum number of draws that an estimate of a total is based on.
const ESTIMATE_DRAWS: usize = 64;

impl Index {
    /// A page of the live peers that match. Each subset of the page's size is equally likely,
    /// unless the query requests a diverse sample. The index must be up to `now`.
    pub(crate) fn sample(&self, query: &Query, now: Timestamp) -> Page {
        let mut rng = fastrand::Rng::new();
        self.sample_by(query, now, |below| rng.u32(..below))
    }

    /// The same as [`Index::sample`], with a given source of randomness: `random` returns a number
    /// below its argument.
    pub(super) fn sample_by(
        &self,
        query: &Query,
        now: Timestamp,
        mut random: impl FnMut(u32) -> u32,
    ) -> Page {
        let scope = self.scope(query);
        let (chosen, total) = match query.diverse {
            true => self.sample_diversely(&scope, query, &mut random),
            false => self.sample_uniformly(&scope, query, query.limit, &mut random),
        };
        Page { peers: self.list(&chosen, query, now), total }
    }

    /// A uniform sample of up to `limit` slots, and the number of matching peers.
    fn sample_uniformly(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        limit: usize,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        // With so few positions, all matching peers may fit on the page. Then all positions are
        // examined, and the total is exact. A peer may have a position in each array, and the `+ 1`
        // is for the excluded peer.
        let few = limit.saturating_add(1).saturating_mul(scope.members.len());
        if scope.positions() as usize <= few {
            self.sample_of_few(scope, query, limit, random)
        } else if let [members] = *scope.members {
            self.sample_of_one(members, scope, query, limit, random)
        } else {
            self.sample_of_union(scope, query, limit, random)
        }
    }

    /// The number of live peers that match, exact or estimated, at a bounded cost.
    pub(super) fn total(&self, scope: &Scope<'_>, excluded: Option<u32>) -> Total {
        if let [members] = *scope.members {
            return total_of_one(members, excluded);
        }
        // The share of the draws that count, times the number of positions, is an unbiased estimate
        // of the number of positions that count.
        let mut rng = fastrand::Rng::new();
        let mut draws = Draws::new(scope.positions(), ESTIMATE_DRAWS);
        let mut matching = 0;
        while (draws.drawn as usize) < ESTIMATE_DRAWS {
            let Some(position) = draws.next(&mut |below| rng.u32(..below)) else { break };
            matching += u64::from(self.accepts(scope, excluded, scope.candidate(position)));
        }
        draws.total(matching)
    }

    /// Examines all positions, and returns up to `limit` of the matching peers in random order. The
    /// order is random even if all peers are returned: if the page is cut by its size in bytes, no
    /// peer may be preferred.
    fn sample_of_few(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        limit: usize,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let excluded = self.excluded(query, scope);
        let all = (0..scope.positions()).map(|position| scope.candidate(position));
        let mut matching: Vec<u32> = all
            .filter(|candidate| self.accepts(scope, excluded, *candidate))
            .map(|candidate| candidate.slot)
            .collect();
        let total = Total::Exact(matching.len() as u64);
        let listed = matching.len().min(limit);
        for index in 0..listed {
            let left = u32::try_from(matching.len() - index).unwrap_or(u32::MAX);
            matching.swap(index, index + random(left) as usize);
        }
        matching.truncate(listed);
        self.touch_listed(&matching, scope, query);
        (matching, total)
    }

    /// Samples from one dense array. All its members match, except for the excluded peer.
    fn sample_of_one(
        &self,
        members: &Members,
        scope: &Scope<'_>,
        query: &Query,
        limit: usize,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        // One extra draw replaces the excluded peer if it is drawn. There are enough positions,
        // because small arrays are handled by `sample_of_few`.
        let drawn = limit.saturating_add(1);
        let positions = Draws::new(scope.positions(), drawn).take(drawn, random);
        let dense = members.as_slice();
        let mut chosen: Vec<u32> = positions.into_iter().map(|position| dense[position as usize]).collect();
        self.touch_listed(&chosen, scope, query);
        let excluded = self.excluded(query, scope);
        chosen.retain(|slot| Some(*slot) != excluded);
        chosen.truncate(limit);
        (chosen, total_of_one(members, excluded))
    }

    /// Samples from several dense arrays, which may contain the same peer more than once.
    fn sample_of_union(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        limit: usize,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let excluded = self.excluded(query, scope);
        let mut draws = Draws::new(scope.positions(), limit);
        let mut chosen = Vec::with_capacity(limit);
        let mut matching = 0;
        loop {
            // Draws at least as many positions as the estimate needs, even if fewer fill the page.
            // `draws` returns each position once, so no peer is chosen twice and the loop ends when
            // the positions are exhausted.
            let estimated = ESTIMATE_DRAWS.saturating_sub(draws.drawn as usize);
            let batch = draws.take(estimated.max(limit - chosen.len()), random);
            if batch.is_empty() {
                break;
            }
            // Each step processes the whole batch, so that the reads of distant memory overlap.
            let batch: Vec<Candidate> = batch.into_iter().map(|position| scope.candidate(position)).collect();
            black_box(batch.iter().fold(0, |all, candidate| all ^ self.slots.tail(candidate.slot).touch()));
            for candidate in batch.into_iter().filter(|candidate| self.accepts(scope, excluded, *candidate)) {
                matching += 1;
                if chosen.len() < limit {
                    chosen.push(candidate.slot);
                }
            }
        }
        self.touch_listed(&chosen, scope, query);
        (chosen, draws.total(matching))
    }

    /// Prefetches the slots of a uniform sample. A diverse sample lists only some of the slots, and
    /// prefetches those later.
    fn touch_listed(&self, slots: &[u32], scope: &Scope<'_>, query: &Query) {
        if !query.diverse {
            self.touch(slots, scope);
        }
    }

    /// Whether the peer counts at this position: it is not excluded, and has no archetype that
    /// comes earlier in the query.
    fn accepts(&self, scope: &Scope<'_>, excluded: Option<u32>, candidate: Candidate) -> bool {
        let earlier = &scope.archetypes[..candidate.archetype_index];
        excluded != Some(candidate.slot)
            && !earlier.iter().any(|archetype| self.slots.tail(candidate.slot).has_archetype(*archetype))
    }
}

/// The total of one dense array: its length, without the excluded peer.
fn total_of_one(members: &Members, excluded: Option<u32>) -> Total {
    Total::Exact((members.len() - usize::from(excluded.is_some())) as u64)
}

/// A member in the concatenation of a scope's dense arrays.
#[derive(Clone, Copy)]
struct Candidate {
    slot: u32,
    /// The index of the archetype in the query.
    archetype_index: usize,
}

impl Scope<'_> {
    fn candidate(&self, position: u32) -> Candidate {
        let (mut index, mut archetype_index) = (position as usize, 0);
        while index >= self.members[archetype_index].len() {
            index -= self.members[archetype_index].len();
            archetype_index += 1;
        }
        Candidate { slot: self.members[archetype_index].as_slice()[index], archetype_index }
    }
}

/// Draws distinct random numbers below a bound. Every sequence of distinct numbers is equally
/// likely, because a number that was drawn before is replaced by a further draw.
struct Draws {
    /// An open-addressed hash set of the drawn numbers. The lowest bits of a number select its
    /// bucket, with linear probing. Most numbers find their bucket empty, so the processor rarely
    /// mispredicts the branch.
    seen: Vec<u32>,
    bound: u32,
    drawn: u32,
}

impl Draws {
    /// Marks an empty bucket. Drawn numbers are always smaller.
    const EMPTY: u32 = u32::MAX;
    /// Minimum number of buckets per drawn number, so that probe sequences stay short.
    const BUCKETS_PER_NUMBER: usize = 4;

    fn new(bound: u32, expected: usize) -> Self {
        let buckets =
            expected.min(bound as usize).max(1).saturating_mul(Self::BUCKETS_PER_NUMBER).next_power_of_two();
        Self { seen: vec![Self::EMPTY; buckets], bound, drawn: 0 }
    }

    /// Extrapolates the number of drawn positions that match to all positions. Exact if all
    /// positions were drawn.
    fn total(&self, matching: u64) -> Total {
        let (bound, drawn) = (u64::from(self.bound), u64::from(self.drawn));
        if drawn == bound {
            return Total::Exact(matching);
        }
        Total::Estimate(((bound * matching + drawn / 2) / drawn.max(1)).max(matching))
    }

    /// Draws `count` numbers, or as many as are left.
    fn take(&mut self, count: usize, random: &mut impl FnMut(u32) -> u32) -> Vec<u32> {
        let mut taken = Vec::with_capacity(count.min((self.bound - self.drawn) as usize));
        taken.extend((0..count).map_while(|_| self.next(random)));
        taken
    }

    fn next(&mut self, random: &mut impl FnMut(u32) -> u32) -> Option<u32> {
        if self.drawn == self.bound {
            return None;
        }
        if self.drawn as usize * Self::BUCKETS_PER_NUMBER >= self.seen.len() {
            self.grow();
        }
        loop {
            let number = random(self.bound);
            if self.insert(number) {
                self.drawn += 1;
                return Some(number);
            }
        }
    }

    /// Adds a number to the set. Returns whether it is new.
    fn insert(&mut self, number: u32) -> bool {
        let mask = self.seen.len() - 1;
        // The numbers are random, so they are spread evenly without hashing.
        let mut at = number as usize & mask;
        while self.seen[at] != Self::EMPTY {
            if self.seen[at] == number {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.seen[at] = number;
        true
    }

    fn grow(&mut self) {
        let doubled = vec![Self::EMPTY; self.seen.len() * 2];
        for number in std::mem::replace(&mut self.seen, doubled) {
            if number != Self::EMPTY {
                self.insert(number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
