//! The times at which leases end and dormant peers are evicted: two ordered sets, no timers.

use std::collections::BTreeSet;

use aurora_discovery_protocol::Timestamp;

/// The schedule.
///
/// A heartbeat does not move its peer's entry here. It only raises the end of the lease in the
/// slot. If the entry comes due before the lease ends, it is put back with the actual end. So an
/// entry is never later than the event that it represents.
#[derive(Default)]
pub(crate) struct Schedule {
    expiries: Deadlines,
    evictions: Deadlines,
}

/// A set of events, ordered by the time at which they are due. Each belongs to a slot.
#[derive(Default)]
pub(crate) struct Deadlines {
    /// While a store is loaded, changes are not tracked, and the whole set is built at the end.
    deferred: bool,
    entries: BTreeSet<Key>,
}

/// The time at which an event is due, and its slot.
type Key = (Timestamp, u32);

impl Schedule {
    /// A schedule that does not track changes until [`Schedule::build`].
    pub(crate) fn deferred() -> Self {
        let deadlines = || Deadlines { deferred: true, entries: BTreeSet::new() };
        Self { expiries: deadlines(), evictions: deadlines() }
    }

    pub(crate) fn expiries(&mut self) -> &mut Deadlines {
        &mut self.expiries
    }

    pub(crate) fn evictions(&mut self) -> &mut Deadlines {
        &mut self.evictions
    }

    pub(crate) fn dormant(&self) -> usize {
        self.evictions.entries.len()
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.expiries.first_due(now).is_some() || self.evictions.first_due(now).is_some()
    }

    /// The dormant peer to evict first, other than the one in `slot`.
    pub(crate) fn oldest_dormant_except(&self, slot: Option<u32>) -> Option<u32> {
        // The peer that registers must not be evicted for its own registration.
        self.evictions.entries.iter().map(|key| key.1).find(|oldest| Some(*oldest) != slot)
    }

    /// Takes all entries at once, and tracks changes from here on.
    pub(crate) fn build(&mut self, expiries: Vec<(Timestamp, u32)>, evictions: Vec<(Timestamp, u32)>) {
        for (deadlines, entries) in [(&mut self.expiries, expiries), (&mut self.evictions, evictions)] {
            deadlines.deferred = false;
            deadlines.entries = entries.into_iter().collect();
        }
    }
}

impl Deadlines {
    pub(crate) fn insert(&mut self, at: Timestamp, slot: u32) {
        if !self.deferred {
            self.entries.insert((at, slot));
        }
    }

    pub(crate) fn remove(&mut self, at: Timestamp, slot: u32) {
        if !self.deferred {
            self.entries.remove(&(at, slot));
        }
    }

    pub(crate) fn first_due(&self, now: Timestamp) -> Option<u32> {
        self.entries.first().filter(|first| **first <= (now, u32::MAX)).map(|first| first.1)
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, at: Timestamp, slot: u32) -> bool {
        self.entries.contains(&(at, slot))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
