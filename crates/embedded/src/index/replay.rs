//! The index filled from records, and changes taken back.

use aurora_protocol::{PeerId, Timestamp};

use super::entry::{Entry, Keys};
use super::{Index, Schedule, State};
use crate::record::Record;

/// A record, parsed.
pub(crate) enum Replayed {
    Registered(Entry),
    Expired { peer: PeerId, at: Timestamp },
    Revived { peer: PeerId, at: Timestamp },
    Gone { peer: PeerId },
}

impl Replayed {
    /// Parses a record's bytes with suspicion.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub(crate) fn parse(bytes: &[u8], keys: &Keys) -> Result<Self, String> {
        let record = Record::decode(bytes).ok_or("it is of no known form")?;
        let peer = |text: &str| PeerId::parse(text).map_err(|error| error.to_string());
        Ok(match record {
            Record::Registered(registered) => {
                let entry = Entry::recorded(&registered, keys).map_err(|error| error.to_string())?;
                Self::Registered(entry)
            }
            Record::Expired { peer: id, at } => Self::Expired { peer: peer(id)?, at },
            Record::Revived { peer: id, at } => Self::Revived { peer: peer(id)?, at },
            Record::Gone { peer: id } => Self::Gone { peer: peer(id)? },
        })
    }
}

impl Index {
    /// Does what a record says was done. Records may come twice, and may be of peers that are gone by now.
    pub(crate) fn replay(&mut self, record: Replayed) {
        match record {
            Replayed::Registered(entry) => {
                let slot = self.find(&entry.peer_id, entry.hash);
                self.place(&entry, slot);
            }
            Replayed::Expired { peer, at } => self.replay_event(&peer, State::Dormant, at),
            Replayed::Revived { peer, at } => self.replay_event(&peer, State::Live, at),
            Replayed::Gone { peer } => {
                if let Some(slot) = self.find_peer(&peer) {
                    self.forget(slot);
                }
            }
        }
    }

    /// Takes a change back: `before` is the record of what was there. What heartbeats were promised since is kept.
    pub(crate) fn revert(&mut self, before: Replayed) {
        let Replayed::Registered(mut entry) = before else { return self.replay(before) };
        let slot = self.find(&entry.peer_id, entry.hash);
        let renewed_at = slot
            .map(|slot| self.slots.pair(slot))
            .filter(|(slot, tail)| slot.last_seen() > tail.registered_at);
        if let Some(renewed_at) = renewed_at.map(|(slot, _)| slot.last_seen()) {
            let content = &mut entry.content;
            content.last_seen = content.last_seen.max(renewed_at);
            content.expires_at = content.expires_at.max(renewed_at + content.ttl);
            entry.dormant = false;
        }
        self.place(&entry, slot);
    }

    /// Ends the loading: every live peer gets a whole lease from `now`, for its heartbeats could not arrive, and up to a
    /// third more, so that not all of them end at once. `more` draws from `0..=` its argument.
    pub(crate) fn restore(&mut self, now: Timestamp, mut more: impl FnMut(u64) -> u64) {
        self.opened_at = now;
        let mut expiries = Vec::with_capacity(self.live.len());
        let mut evictions = Vec::new();
        for number in 0..self.slots.end() {
            let (slot, tail) = self.slots.pair_mut(number);
            match slot.state {
                State::Vacant => {}
                State::Dormant => evictions.push((tail.scheduled, number)),
                State::Live => {
                    let millis = slot.ttl.as_millis();
                    slot.set_lease(now, now.plus_millis(millis + more(millis / 3)));
                    tail.scheduled = slot.expires_at();
                    expiries.push((tail.scheduled, number));
                }
            }
        }
        self.schedule = Schedule::default();
        self.schedule.build(expiries, evictions);
    }

    /// A known peer's lease ended `at` an instant, or began anew.
    fn replay_event(&mut self, peer: &PeerId, state: State, at: Timestamp) {
        let Some(number) = self.find_peer(peer) else { return };
        self.leave(number);
        let slot = &mut self.slots[number];
        match state {
            State::Live => slot.set_lease(at, at + slot.ttl),
            State::Dormant | State::Vacant => slot.set_lease(slot.last_seen(), at),
        }
        self.enter(number, state);
    }
}
