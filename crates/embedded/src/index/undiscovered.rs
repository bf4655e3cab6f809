//! Tracks which peers were listed recently: a coarse timestamp in each slot, which a listing sets
//! in memory that it reads anyway.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use aurora_discovery_protocol::{Timestamp, Ttl};

use super::Index;

/// Number of peers that an estimate examines. Its error is then at most three percentage points in
/// 95 % of the cases.
const SAMPLE_SIZE: usize = 1_024;

/// When a peer was last listed, in steps of four seconds that wrap around after three days. 0 means
/// never.
#[derive(Debug, Default)]
pub(super) struct LastListed(AtomicU16);

impl Clone for LastListed {
    fn clone(&self) -> Self {
        Self(AtomicU16::new(self.0.load(Relaxed)))
    }
}

/// A time in the unit of [`LastListed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CoarseTime(u16);

impl CoarseTime {
    const MILLIS: u64 = 4_000;
    const COUNT: u64 = u16::MAX as u64;

    pub(super) fn of(now: Timestamp) -> Self {
        Self(u16::try_from(now.as_millis() / Self::MILLIS % Self::COUNT + 1).unwrap_or(u16::MAX))
    }

    /// How far in the future the time of a listing may be, in steps. Such times remain when the
    /// clock is set back, and count as current.
    const MAX_AHEAD: u64 = 3_600_000 / Self::MILLIS;

    /// Number of steps from an earlier step to this one.
    fn since(self, earlier: u16) -> u64 {
        let steps = (u64::from(self.0) + Self::COUNT - u64::from(earlier)) % Self::COUNT;
        if steps >= Self::COUNT - Self::MAX_AHEAD { 0 } else { steps }
    }
}

impl LastListed {
    /// Marks the peer as listed now. Usually the mark is set already, and nothing is written, so
    /// that the cache line stays shared between processors.
    pub(super) fn set(&self, now: CoarseTime) {
        if self.0.load(Relaxed) != now.0 {
            self.0.store(now.0, Relaxed);
        }
    }

    /// Whether the peer was listed within `ttl` before `now`.
    fn is_within(&self, ttl: Ttl, now: CoarseTime) -> bool {
        let listed = self.0.load(Relaxed);
        listed != 0 && now.since(listed) <= ttl.as_millis() / CoarseTime::MILLIS + 1
    }
}

impl Index {
    /// The ratio of live peers that no page has listed during their last lease, estimated from a
    /// uniform random sample. A peer that registered less than a lease ago counts as listed,
    /// because pages may not have had enough time to list it. The same applies to all peers in the
    /// first lease after a start that loaded them. The index must be up to `now`.
    pub(crate) fn undiscovered_ratio(&self, now: Timestamp) -> f64 {
        let live = self.live.as_slice();
        let coarse_now = CoarseTime::of(now);
        let examine_all = live.len() <= SAMPLE_SIZE;
        let examined = live.len().min(SAMPLE_SIZE);
        let mut undiscovered = 0_u32;
        for n in 0..examined {
            // Drawn with repetition, which is sufficient for an estimate.
            let number = live[if examine_all { n } else { fastrand::usize(..live.len()) }];
            let (slot, tail) = self.slots.slot_and_tail(number);
            let is_new = now < tail.registered_at.max(self.opened_at) + slot.ttl;
            undiscovered += u32::from(!is_new && !slot.last_listed.is_within(slot.ttl, coarse_now));
        }
        f64::from(undiscovered) / examined.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_for_one_lease_even_when_the_timestamp_wraps_around() {
        let ttl = Ttl::from_secs(300);
        for start in [1_759_406_400, 4 * CoarseTime::COUNT * 7_000 - 10] {
            let at = |seconds| CoarseTime::of(Timestamp::from_secs(start + seconds));
            let listed = LastListed::default();
            assert!(!listed.is_within(ttl, at(0)), "never");
            listed.set(at(0));
            assert!(listed.is_within(ttl, at(0)) && listed.is_within(ttl, at(300)));
            assert!(!listed.is_within(ttl, at(312)), "no longer");
            listed.set(at(400));
            assert!(listed.is_within(ttl, at(600)));
            assert!(listed.is_within(ttl, at(0)), "the clock was set back");
            assert!(!listed.is_within(ttl, at(720)));
        }
    }
}
