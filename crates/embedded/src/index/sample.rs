//! A uniform random sample of what matches, for the cost of what it returns.
//!
//! Positions are drawn from the concatenation of the queried archetypes' dense arrays. A peer that carries several of them stands
//! there several times, so it is taken only where the first of them drew it: then every peer is equally likely.

use std::hint::black_box;

use aurora_protocol::Timestamp;
use aurora_registry::{Page, Query, Total};

use super::Index;
use super::listing::Scope;
use super::members::Members;

/// How many draws an estimate of a total rests on at least.
const ESTIMATE_DRAWS: usize = 64;

impl Index {
    /// A page of live peers, each subset of its size equally likely. The index must be up to `now`.
    pub(crate) fn sample(&self, query: &Query, now: Timestamp) -> Page {
        let mut rng = fastrand::Rng::new();
        self.sample_by(query, now, |below| rng.u32(..below))
    }

    /// As [`Index::sample`]; `random` draws below its argument.
    pub(super) fn sample_by(
        &self,
        query: &Query,
        now: Timestamp,
        mut random: impl FnMut(u32) -> u32,
    ) -> Page {
        let scope = self.scope(query);
        // With so few places it may be that all that match fit: then all are looked at, and the total is counted.
        let few = query.limit.saturating_add(1).saturating_mul(scope.members.len());
        let (chosen, total) = if scope.places() as usize <= few {
            self.sample_of_few(&scope, query, &mut random)
        } else if let [members] = *scope.members {
            self.sample_of_one(members, &scope, query, &mut random)
        } else {
            self.sample_of_union(&scope, query, &mut random)
        };
        Page { peers: self.list(&chosen, query, now), total }
    }

    /// How many live peers match, for a bounded cost.
    pub(super) fn total(&self, scope: &Scope<'_>, excluded: Option<u32>) -> Total {
        if let [members] = *scope.members {
            return total_of_one(members, excluded);
        }
        let mut rng = fastrand::Rng::new();
        let mut draws = Draws::new(scope.places(), ESTIMATE_DRAWS);
        let mut matching = 0;
        while (draws.drawn as usize) < ESTIMATE_DRAWS {
            let Some(place) = draws.next(&mut |below| rng.u32(..below)) else { break };
            matching += u64::from(self.takes(scope, excluded, scope.member(place)));
        }
        draws.total(matching)
    }

    /// All of a few, in an order as random as a draw's: where the page's bytes cut the list, the cut must not prefer anybody either.
    fn sample_of_few(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let excluded = self.excluded(query, scope);
        let all = (0..scope.places()).map(|place| scope.member(place));
        let mut matching: Vec<u32> =
            all.filter(|place| self.takes(scope, excluded, *place)).map(|place| place.slot).collect();
        let total = Total::Exact(matching.len() as u64);
        let listed = matching.len().min(query.limit);
        for place in 0..listed {
            let left = u32::try_from(matching.len() - place).unwrap_or(u32::MAX);
            matching.swap(place, place + random(left) as usize);
        }
        matching.truncate(listed);
        self.touch(&matching, scope);
        (matching, total)
    }

    /// Of one dense array all members match, but for the excluded one.
    fn sample_of_one(
        &self,
        members: &Members,
        scope: &Scope<'_>,
        query: &Query,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        // One more than is listed stands in for the excluded one; there are more places than that.
        let drawn = query.limit.saturating_add(1);
        let places = Draws::new(scope.places(), drawn).take(drawn, random);
        let dense = members.as_slice();
        let mut chosen: Vec<u32> = places.into_iter().map(|place| dense[place as usize]).collect();
        self.touch(&chosen, scope);
        let excluded = self.excluded(query, scope);
        chosen.retain(|slot| Some(*slot) != excluded);
        chosen.truncate(query.limit);
        (chosen, total_of_one(members, excluded))
    }

    /// Of several dense arrays, in which the same peer may stand.
    fn sample_of_union(
        &self,
        scope: &Scope<'_>,
        query: &Query,
        random: &mut impl FnMut(u32) -> u32,
    ) -> (Vec<u32>, Total) {
        let excluded = self.excluded(query, scope);
        let mut draws = Draws::new(scope.places(), query.limit);
        let mut chosen = Vec::with_capacity(query.limit);
        let mut matching = 0;
        loop {
            let estimated = ESTIMATE_DRAWS.saturating_sub(draws.drawn as usize);
            let batch = draws.take(estimated.max(query.limit - chosen.len()), random);
            if batch.is_empty() {
                break;
            }
            // Each step goes over all of the batch: what lies apart is then asked of the memory at once, not in turn.
            let batch: Vec<Place> = batch.into_iter().map(|place| scope.member(place)).collect();
            black_box(batch.iter().fold(0, |all, place| all ^ self.slots.tail(place.slot).touch()));
            for place in batch.into_iter().filter(|place| self.takes(scope, excluded, *place)) {
                matching += 1;
                if chosen.len() < query.limit {
                    chosen.push(place.slot);
                }
            }
        }
        self.touch(&chosen, scope);
        (chosen, draws.total(matching))
    }

    /// Whether a peer is taken at this place: not if it is left out, or stands at an earlier archetype too.
    fn takes(&self, scope: &Scope<'_>, excluded: Option<u32>, place: Place) -> bool {
        let earlier = &scope.archetypes[..place.nth];
        excluded != Some(place.slot)
            && !earlier.iter().any(|archetype| self.slots.tail(place.slot).carries(*archetype))
    }
}

/// One dense array says itself how many there are.
fn total_of_one(members: &Members, excluded: Option<u32>) -> Total {
    Total::Exact((members.len() - usize::from(excluded.is_some())) as u64)
}

/// A member in the concatenation of a scope's dense arrays.
#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    /// Of which of the archetypes.
    nth: usize,
}

impl Scope<'_> {
    fn member(&self, place: u32) -> Place {
        let (mut place, mut nth) = (place as usize, 0);
        while place >= self.members[nth].len() {
            place -= self.members[nth].len();
            nth += 1;
        }
        Place { slot: self.members[nth].as_slice()[place], nth }
    }
}

/// Distinct random numbers below a bound, each order of them equally likely: one that was drawn before is drawn anew.
struct Draws {
    /// What was drawn, each number at the place that its lowest bits name or the next free one. Most find theirs free, so that the
    /// processor rarely guesses wrong.
    seen: Vec<u32>,
    bound: u32,
    drawn: u32,
}

impl Draws {
    /// A place where nothing was noted; no number is as large.
    const FREE: u32 = u32::MAX;
    /// How many places there are at least for each number that is drawn.
    const ROOM: usize = 4;

    fn new(bound: u32, expected: usize) -> Self {
        let places = expected.min(bound as usize).max(1).saturating_mul(Self::ROOM).next_power_of_two();
        Self { seen: vec![Self::FREE; places], bound, drawn: 0 }
    }

    /// How many of all places match if as many of the drawn ones as said do.
    fn total(&self, matching: u64) -> Total {
        let (bound, drawn) = (u64::from(self.bound), u64::from(self.drawn));
        if drawn == bound {
            return Total::Exact(matching);
        }
        Total::Estimate(((bound * matching + drawn / 2) / drawn.max(1)).max(matching))
    }

    /// So many numbers, or as many as are left.
    fn take(&mut self, count: usize, random: &mut impl FnMut(u32) -> u32) -> Vec<u32> {
        let mut taken = Vec::with_capacity(count.min((self.bound - self.drawn) as usize));
        taken.extend((0..count).map_while(|_| self.next(random)));
        taken
    }

    fn next(&mut self, random: &mut impl FnMut(u32) -> u32) -> Option<u32> {
        if self.drawn == self.bound {
            return None;
        }
        if self.drawn as usize * Self::ROOM >= self.seen.len() {
            self.grow();
        }
        loop {
            let number = random(self.bound);
            if self.note(number) {
                self.drawn += 1;
                return Some(number);
            }
        }
    }

    /// Notes a number; answers whether it is new.
    fn note(&mut self, number: u32) -> bool {
        let mask = self.seen.len() - 1;
        // The numbers are random themselves, so they scatter without a hash.
        let mut at = number as usize & mask;
        while self.seen[at] != Self::FREE {
            if self.seen[at] == number {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.seen[at] = number;
        true
    }

    fn grow(&mut self) {
        let doubled = vec![Self::FREE; self.seen.len() * 2];
        for number in std::mem::replace(&mut self.seen, doubled) {
            if number != Self::FREE {
                self.note(number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
