//! Estimates the number of peers from what recent operations have read of the index.
//!
//! Each operation reports which part of the ring it read, how many index entries it found there,
//! and how many of their peers were live. The hash spreads peers evenly over the ring, so these
//! numbers can be extrapolated to the whole ring. Older reports lose weight with time.

use std::collections::HashMap;
use std::time::Duration;

use aurora_discovery_protocol::Archetype;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long an estimate is valid without new observations.
const MAX_AGE: Duration = Duration::from_secs(60);
/// The time after which past observations count half as much, so that the estimate follows a
/// network that changes.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Maximum number of queries whose observations are remembered. It bounds the memory that clients
/// can use up by queries for archetypes that do not exist.
const MAX_QUERIES: usize = 4_096;
/// The number of positions on the ring.
const RING: u128 = 1 << 64;

/// What operations have observed about the peers of one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    /// Number of index entries that were read.
    pub(crate) entries: u64,
    /// Number of ring positions that were searched for these entries. A position that was searched
    /// twice counts twice.
    pub(crate) covered: u128,
    /// Number of peers that were read.
    pub(crate) peers_read: u64,
    /// Number of these peers that were live and matched.
    pub(crate) live: u64,
    /// The cost of the reads, in half read units. It does not influence the estimates.
    pub(crate) half_units: u64,
}

impl Observation {
    /// The estimated number of index entries on the whole ring.
    pub(crate) fn estimated_entries(&self) -> u64 {
        if self.covered == 0 {
            return 0;
        }
        u64::try_from(u128::from(self.entries) * RING / self.covered).unwrap_or(u64::MAX)
    }

    /// The estimated number of live peers on the whole ring.
    pub(crate) fn estimated_live(&self) -> u64 {
        self.scaled_to_live(self.estimated_entries())
    }

    /// The number of live peers among `entries` entries, extrapolated from the peers that were
    /// read. Before any peer was read, all are assumed to be live.
    fn scaled_to_live(&self, entries: u64) -> u64 {
        if self.peers_read == 0 { entries } else { scale(entries, self.live, self.peers_read) }
    }

    /// How many entries to read to find `live` live peers.
    pub(crate) fn entries_needed_for(&self, live: usize) -> usize {
        // At least one peer in sixteen is assumed to be live, which bounds the cost of a sample. If
        // fewer are live, samples have fewer peers than requested until the sweep has removed the
        // dormant peers from the index.
        const MAX_READ_PER_LIVE: u64 = 16;
        let live = u64::try_from(live).unwrap_or(u64::MAX);
        let wanted = if self.peers_read == 0 {
            live
        } else {
            scale(live, self.peers_read, self.live.max(self.peers_read / MAX_READ_PER_LIVE).max(1))
        };
        usize::try_from(wanted).unwrap_or(usize::MAX)
    }

    /// Whether more than half of the peers that were read were dormant or deleted, or did not
    /// match.
    pub(crate) fn mostly_dormant(&self) -> bool {
        const MIN_READ: u64 = 20; // the ratio among fewer peers is not significant
        self.peers_read >= MIN_READ && self.live * 2 < self.peers_read
    }

    fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.covered += other.covered;
        self.peers_read += other.peers_read;
        self.live += other.live;
    }

    fn halve(&mut self) {
        self.entries /= 2;
        self.covered /= 2;
        self.peers_read /= 2;
        self.live /= 2;
    }
}

/// `value * numerator / denominator`, rounded up.
pub(crate) fn scale(value: u64, numerator: u64, denominator: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(numerator)).div_ceil(u128::from(denominator.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

pub(crate) fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Recent observations, by the archetypes of the query.
#[derive(Debug, Default)]
pub(crate) struct SizeEstimates(Mutex<HashMap<Vec<Archetype>, Estimate>>);

#[derive(Debug)]
struct Estimate {
    observed: Observation,
    /// When the observations were last halved.
    halved_at: Instant,
    /// When the last observation was added.
    updated_at: Instant,
}

impl SizeEstimates {
    /// The observations for a query, unless they are too old.
    pub(crate) fn get(&self, archetypes: &[Archetype]) -> Option<Observation> {
        let sizes = self.0.lock();
        let estimate = sizes.get(archetypes).filter(|size| size.updated_at.elapsed() < MAX_AGE)?;
        (estimate.observed.covered > 0).then_some(estimate.observed)
    }

    /// Whether the recent observations of any query are mostly of dormant peers.
    pub(crate) fn any_mostly_dormant(&self) -> bool {
        let sizes = self.0.lock();
        sizes.values().any(|size| size.updated_at.elapsed() < MAX_AGE && size.observed.mostly_dormant())
    }

    /// Adds an observation for a query. Returns the sum of all its observations, in which older
    /// ones weigh less.
    pub(crate) fn add(&self, archetypes: &[Archetype], seen: &Observation) -> Observation {
        let mut sizes = self.0.lock();
        if sizes.len() >= MAX_QUERIES && !sizes.contains_key(archetypes) {
            sizes.retain(|_, size| size.updated_at.elapsed() < MAX_AGE);
            // All observations are recent, and none is worth more than the others, so all are
            // dropped.
            if sizes.len() >= MAX_QUERIES {
                sizes.clear();
            }
        }
        let now = Instant::now();
        let fresh = || Estimate { observed: Observation::default(), halved_at: now, updated_at: now };
        let size = sizes.entry(archetypes.to_vec()).or_insert_with(fresh);
        if size.updated_at.elapsed() >= MAX_AGE {
            *size = fresh();
        } else if size.halved_at.elapsed() >= HALF_LIFE {
            size.observed.halve();
            size.halved_at = now;
        }
        size.updated_at = now;
        size.observed.add(seen);
        size.observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_extrapolated_from_the_observed_part_of_the_ring() {
        let seen = Observation { entries: 40, covered: RING / 250, peers_read: 30, live: 20, half_units: 0 };
        assert_eq!(seen.estimated_entries(), 10_000);
        assert_eq!(seen.estimated_live(), 6_667);
        assert_eq!(seen.entries_needed_for(20), 30);
        assert_eq!(Observation::default().estimated_entries(), 0);
        assert_eq!(Observation { peers_read: 320, ..Observation::default() }.entries_needed_for(20), 320);
    }

    #[tokio::test(start_paused = true)]
    async fn old_observations_count_half_and_then_expire() {
        let sizes = SizeEstimates::default();
        let seen = |entries| Observation { entries, covered: RING / 16, ..Observation::default() };
        sizes.add(&[], &seen(100));
        assert_eq!(sizes.get(&[]).unwrap().estimated_entries(), 1_600);
        tokio::time::advance(HALF_LIFE).await;
        assert_eq!(sizes.add(&[], &seen(10)).estimated_entries(), 640);
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(sizes.get(&[]), None);
        assert_eq!(sizes.add(&[], &seen(10)).estimated_entries(), 160);
    }

    #[tokio::test(start_paused = true)]
    async fn one_query_with_mostly_dormant_peers_triggers_sweeps_until_its_estimate_expires() {
        let sizes = SizeEstimates::default();
        let seen = |live| Observation { entries: 100, covered: RING, peers_read: 100, live, half_units: 0 };
        sizes.add(&[], &seen(90));
        assert!(!sizes.any_mostly_dormant());
        sizes.add(&[Archetype::parse("a").unwrap()], &seen(10));
        assert!(sizes.any_mostly_dormant());
        tokio::time::advance(MAX_AGE).await;
        assert!(!sizes.any_mostly_dormant());
    }

    #[test]
    fn the_number_of_remembered_queries_is_bounded() {
        let sizes = SizeEstimates::default();
        for n in 0..2 * MAX_QUERIES {
            let archetype = Archetype::parse(&n.to_string()).unwrap();
            sizes.add(&[archetype], &Observation { entries: 1, covered: 1, ..Observation::default() });
        }
        assert!(sizes.0.lock().len() <= MAX_QUERIES);
    }
}
