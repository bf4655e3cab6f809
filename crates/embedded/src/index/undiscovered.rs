//! Tracks which peers were listed recently: a coarse timestamp in each slot, which a listing sets
//! in memory that it reads anyway.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use aurora_discovery_protocol::{Timestamp, Ttl};

use super::Index;

/// Number of peers that an estimate examines. Its error is then at most three percentage points in
/// 95 % of the cases.
const LOOKED_AT: usize = 1_024;

/// When a peer was last listed, in steps of four seconds that wrap around after three days. 0 means
/// never.
#[derive(Debug, Default)]
pub(super) struct Listed(AtomicU16);

/// A time in the units of these marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step(u16);

impl Step {
    const MILLIS: u64 = 4_000;
    const COUNT: u64 = u16::MAX as u64;

    pub(super) fn of(now: Timestamp) -> Self {
        Self(u16::try_from(now.as_millis() / Self::MILLIS % Self::COUNT + 1).unwrap_or(u16::MAX))
    }

    /// How far in the future a mark may be. Such marks remain when the clock is set back, and count
    /// as current.
    const AHEAD: u64 = 3_600_000 / Self::MILLIS;

    /// Number of steps from an earlier step to this one.
    fn since(self, earlier: u16) -> u64 {
        let steps = (u64::from(self.0) + Self::COUNT - u64::from(earlier)) % Self::COUNT;
        if steps >= Self::COUNT - Self::AHEAD { 0 } else { steps }
    }
}

impl Listed {
    /// Marks the peer as listed now. Usually the mark is set already, and nothing is written, so
    /// that the cache line stays shared between processors.
    pub(super) fn mark(&self, step: Step) {
        if self.0.load(Relaxed) != step.0 {
            self.0.store(step.0, Relaxed);
        }
    }

    /// Whether the peer was listed within `ttl` before `step`.
    fn is_within(&self, ttl: Ttl, step: Step) -> bool {
        let listed = self.0.load(Relaxed);
        listed != 0 && step.since(listed) <= ttl.as_millis() / Step::MILLIS + 1
    }
}

impl Index {
    /// The ratio of live peers that no page has listed during their last lease, estimated from a
    /// uniform random sample. A peer that registered less than a lease ago counts as listed,
    /// because there was not enough time yet. The same applies to all peers in the first lease
    /// after the process started. The index must be up to `now`.
    pub(crate) fn undiscovered_ratio(&self, now: Timestamp) -> f64 {
        let live = self.live.as_slice();
        let step = Step::of(now);
        let whole = live.len() <= LOOKED_AT;
        let looked_at = live.len().min(LOOKED_AT);
        let mut unmet = 0_u32;
        for n in 0..looked_at {
            // Drawn with repetition, which is sufficient for an estimate.
            let number = live[if whole { n } else { fastrand::usize(..live.len()) }];
            let (slot, tail) = self.slots.pair(number);
            let is_new = now < tail.registered_at.max(self.opened_at) + slot.ttl;
            unmet += u32::from(!is_new && !slot.listed.is_within(slot.ttl, step));
        }
        f64::from(unmet) / looked_at.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_for_one_lease_even_when_the_timestamp_wraps_around() {
        let ttl = Ttl::from_secs(300);
        for start in [1_759_406_400, 4 * Step::COUNT * 7_000 - 10] {
            let at = |seconds| Step::of(Timestamp::from_secs(start + seconds));
            let listed = Listed::default();
            assert!(!listed.is_within(ttl, at(0)), "never");
            listed.mark(at(0));
            assert!(listed.is_within(ttl, at(0)) && listed.is_within(ttl, at(300)));
            assert!(!listed.is_within(ttl, at(312)), "no longer");
            listed.mark(at(400));
            assert!(listed.is_within(ttl, at(600)));
            assert!(listed.is_within(ttl, at(0)), "the clock was set back");
            assert!(!listed.is_within(ttl, at(720)));
        }
    }
}
