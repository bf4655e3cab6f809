//! How many peers there are, as far as the last answers tell.

use std::collections::HashMap;
use std::time::Duration;

use aurora_protocol::Archetype;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long an estimate holds when nothing renews it.
const HOLD: Duration = Duration::from_secs(60);
/// How often the past counts half: what was seen minutes ago says little of a network that churns.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Most queries whose sizes are remembered, so that made-up archetypes can't fill the memory.
const MOST: usize = 4_096;
/// The whole ring.
const RING: u128 = 1 << 64;

/// What was seen of one query's peers on the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Index entries that were counted.
    pub(crate) entries: u64,
    /// How much of the ring they were counted on.
    pub(crate) covered: u128,
    /// Peers that were looked at.
    pub(crate) looked_at: u64,
    /// Those of them that were live and matched.
    pub(crate) live: u64,
}

impl Seen {
    /// How many index entries there are in all.
    pub(crate) fn entries_in_all(&self) -> u64 {
        if self.covered == 0 {
            return 0;
        }
        u64::try_from(u128::from(self.entries) * RING / self.covered).unwrap_or(u64::MAX)
    }

    /// How many live peers there are in all.
    pub(crate) fn live_in_all(&self) -> u64 {
        self.scaled_to_live(self.entries_in_all())
    }

    fn scaled_to_live(&self, entries: u64) -> u64 {
        if self.looked_at == 0 { entries } else { scale(entries, self.live, self.looked_at) }
    }

    /// How many entries to look at for this many live peers.
    pub(crate) fn entries_for(&self, live: usize) -> usize {
        // At worst one in sixteen is live: a call then finds fewer at first, and delisting soon mends it.
        const WORST: u64 = 16;
        let live = u64::try_from(live).unwrap_or(u64::MAX);
        let wanted = if self.looked_at == 0 {
            live
        } else {
            scale(live, self.looked_at, self.live.max(self.looked_at / WORST).max(1))
        };
        usize::try_from(wanted).unwrap_or(usize::MAX)
    }

    /// Whether dormant and vanished peers are most of what the index lists.
    pub(crate) fn mostly_dormant(&self) -> bool {
        const ENOUGH: u64 = 20; // fewer say nothing
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

/// What was lately seen, by the archetypes that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Sizes(Mutex<HashMap<Vec<Archetype>, Remembered>>);

#[derive(Debug)]
struct Remembered {
    seen: Seen,
    halved_at: Instant,
    renewed_at: Instant,
}

impl Sizes {
    /// What is known of a query's peers, if anything still is.
    pub(crate) fn of(&self, archetypes: &[Archetype]) -> Option<Seen> {
        let sizes = self.0.lock();
        let remembered = sizes.get(archetypes).filter(|size| size.renewed_at.elapsed() < HOLD)?;
        (remembered.seen.covered > 0).then_some(remembered.seen)
    }

    /// Whether any query that was asked lately finds mostly peers that are away.
    pub(crate) fn any_mostly_dormant(&self) -> bool {
        let sizes = self.0.lock();
        sizes.values().any(|size| size.renewed_at.elapsed() < HOLD && size.seen.mostly_dormant())
    }

    /// Adds what was seen, and says what is known with it.
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
