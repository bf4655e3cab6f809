//! Estimates the number of peers from recent responses.

use std::collections::HashMap;
use std::time::Duration;

use aurora_discovery_protocol::Archetype;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long an estimate is valid without new observations.
const HOLD: Duration = Duration::from_secs(60);
/// The time after which past observations count half. Observations from minutes ago say little
/// about a network that changes.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Maximum number of queries with remembered sizes, so that invented archetypes cannot fill the
/// memory.
const MOST: usize = 4_096;
/// The size of the whole ring.
const RING: u128 = 1 << 64;

/// Observations about the peers of one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Number of index entries that were counted.
    pub(crate) entries: u64,
    /// The part of the ring on which they were counted.
    pub(crate) covered: u128,
    /// Number of peers that were read.
    pub(crate) looked_at: u64,
    /// Number of these that were live and matched.
    pub(crate) live: u64,
}

impl Seen {
    /// The estimated number of index entries on the whole ring.
    pub(crate) fn entries_in_all(&self) -> u64 {
        if self.covered == 0 {
            return 0;
        }
        u64::try_from(u128::from(self.entries) * RING / self.covered).unwrap_or(u64::MAX)
    }

    /// The estimated number of live peers on the whole ring.
    pub(crate) fn live_in_all(&self) -> u64 {
        self.scaled_to_live(self.entries_in_all())
    }

    fn scaled_to_live(&self, entries: u64) -> u64 {
        if self.looked_at == 0 { entries } else { scale(entries, self.live, self.looked_at) }
    }

    /// How many entries to read to find this many live peers.
    pub(crate) fn entries_for(&self, live: usize) -> usize {
        // At worst one peer in sixteen is assumed to be live. If there are fewer, a sample finds
        // too few at first, until the sweep has taken dormant peers off the index.
        const WORST: u64 = 16;
        let live = u64::try_from(live).unwrap_or(u64::MAX);
        let wanted = if self.looked_at == 0 {
            live
        } else {
            scale(live, self.looked_at, self.live.max(self.looked_at / WORST).max(1))
        };
        usize::try_from(wanted).unwrap_or(usize::MAX)
    }

    /// Whether most of the index entries are of dormant or deleted peers.
    pub(crate) fn mostly_dormant(&self) -> bool {
        const ENOUGH: u64 = 20; // fewer are not significant
        self.looked_at >= ENOUGH && self.live * 2 < self.looked_at
    }

    fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.covered += other.covered;
        self.looked_at += other.looked_at;
        self.live += other.live;
    }

    fn halve(&mut self) {
        self.entries /= 2;
        self.covered /= 2;
        self.looked_at /= 2;
        self.live /= 2;
    }
}

/// `value * up / down`, rounded up.
pub(crate) fn scale(value: u64, up: u64, down: u64) -> u64 {
    let scaled = (u128::from(value) * u128::from(up)).div_ceil(u128::from(down.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

pub(crate) fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Recent observations, by the archetypes of the query.
#[derive(Debug, Default)]
pub(crate) struct Sizes(Mutex<HashMap<Vec<Archetype>, Remembered>>);

#[derive(Debug)]
struct Remembered {
    seen: Seen,
    halved_at: Instant,
    renewed_at: Instant,
}

impl Sizes {
    /// The observations for a query, unless they are too old.
    pub(crate) fn of(&self, archetypes: &[Archetype]) -> Option<Seen> {
        let sizes = self.0.lock();
        let remembered = sizes.get(archetypes).filter(|size| size.renewed_at.elapsed() < HOLD)?;
        (remembered.seen.covered > 0).then_some(remembered.seen)
    }

    /// Whether any recent query found mostly dormant peers.
    pub(crate) fn any_mostly_dormant(&self) -> bool {
        let sizes = self.0.lock();
        sizes.values().any(|size| size.renewed_at.elapsed() < HOLD && size.seen.mostly_dormant())
    }

    /// Adds an observation. Returns the total including it.
    pub(crate) fn saw(&self, archetypes: &[Archetype], seen: &Seen) -> Seen {
        let mut sizes = self.0.lock();
        if sizes.len() >= MOST && !sizes.contains_key(archetypes) {
            sizes.retain(|_, size| size.renewed_at.elapsed() < HOLD);
            if sizes.len() >= MOST {
                sizes.clear();
            }
        }
        let now = Instant::now();
        let fresh = || Remembered { seen: Seen::default(), halved_at: now, renewed_at: now };
        let size = sizes.entry(archetypes.to_vec()).or_insert_with(fresh);
        if size.renewed_at.elapsed() >= HOLD {
            *size = fresh();
        } else if size.halved_at.elapsed() >= HALF_LIFE {
            size.seen.halve();
            size.halved_at = now;
        }
        size.renewed_at = now;
        size.seen.add(seen);
        size.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_what_was_seen_over_how_much_was_looked_at() {
        let seen = Seen { entries: 40, covered: RING / 250, looked_at: 30, live: 20 };
        assert_eq!(seen.entries_in_all(), 10_000);
        assert_eq!(seen.live_in_all(), 6_667);
        assert_eq!(seen.entries_for(20), 30);
        assert_eq!(Seen::default().entries_in_all(), 0);
        assert_eq!(Seen { looked_at: 320, ..Seen::default() }.entries_for(20), 320);
    }

    #[tokio::test(start_paused = true)]
    async fn the_past_fades_and_is_forgotten() {
        let sizes = Sizes::default();
        let seen = |entries| Seen { entries, covered: RING / 16, ..Seen::default() };
        sizes.saw(&[], &seen(100));
        assert_eq!(sizes.of(&[]).unwrap().entries_in_all(), 1_600);
        tokio::time::advance(HALF_LIFE).await;
        assert_eq!(sizes.saw(&[], &seen(10)).entries_in_all(), 640);
        tokio::time::advance(HOLD).await;
        assert_eq!(sizes.of(&[]), None);
        assert_eq!(sizes.saw(&[], &seen(10)).entries_in_all(), 160);
    }

    #[tokio::test(start_paused = true)]
    async fn one_query_that_finds_nobody_live_is_enough_to_sweep_until_it_is_forgotten() {
        let sizes = Sizes::default();
        let seen = |live| Seen { entries: 100, covered: RING, looked_at: 100, live };
        sizes.saw(&[], &seen(90));
        assert!(!sizes.any_mostly_dormant());
        sizes.saw(&[Archetype::parse("a").unwrap()], &seen(10));
        assert!(sizes.any_mostly_dormant());
        tokio::time::advance(HOLD).await;
        assert!(!sizes.any_mostly_dormant());
    }

    #[test]
    fn made_up_archetypes_fill_no_memory() {
        let sizes = Sizes::default();
        for n in 0..2 * MOST {
            let archetype = Archetype::parse(&n.to_string()).unwrap();
            sizes.saw(&[archetype], &Seen { entries: 1, covered: 1, ..Seen::default() });
        }
        assert!(sizes.0.lock().len() <= MOST);
    }
}
