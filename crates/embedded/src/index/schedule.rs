//! When leases end and dormant peers are evicted: two ordered sets, no timers.

use std::collections::BTreeSet;

use aurora_protocol::Timestamp;

/// What is due when.
///
/// A heartbeat does not move its peer here, it only raises the lease's end in the slot; an entry that comes due too early is put
/// back at the true time. So an entry is never later than what it stands for.
#[derive(Default)]
pub(crate) struct Schedule {
    expiries: Agenda,
    evictions: Agenda,
}

/// Slots by an instant.
#[derive(Default)]
pub(crate) struct Agenda {
    /// While a store is loaded, changes are not followed, and the whole is built at the end.
    deferred: bool,
    entries: BTreeSet<Key>,
}

/// When something is due, and for which slot.
type Key = (Timestamp, u32);

impl Schedule {
    /// A schedule that follows nothing until [`Schedule::build`].
    pub(crate) fn deferred() -> Self {
        let agenda = || Agenda { deferred: true, entries: BTreeSet::new() };
        Self { expiries: agenda(), evictions: agenda() }
    }

    pub(crate) fn expiries(&mut self) -> &mut Agenda {
        &mut self.expiries
    }

    pub(crate) fn evictions(&mut self) -> &mut Agenda {
        &mut self.evictions
    }

    pub(crate) fn dormant(&self) -> usize {
        self.evictions.entries.len()
    }

    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.expiries.first_due(now).is_some() || self.evictions.first_due(now).is_some()
    }

    /// The dormant peer that is evicted first, other than one.
    pub(crate) fn oldest_dormant_but(&self, slot: Option<u32>) -> Option<u32> {
        self.evictions.entries.iter().map(|key| key.1).find(|oldest| Some(*oldest) != slot)
    }

    /// Takes the whole content and follows every change from here on.
    pub(crate) fn build(&mut self, expiries: Vec<(Timestamp, u32)>, evictions: Vec<(Timestamp, u32)>) {
        for (agenda, entries) in [(&mut self.expiries, expiries), (&mut self.evictions, evictions)] {
            agenda.deferred = false;
            agenda.entries = entries.into_iter().collect();
        }
    }
}

impl Agenda {
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
