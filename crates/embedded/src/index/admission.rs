//! Admission of registrations, and eviction of dormant peers to make room for them.

use aurora_discovery_registry::{Claim, ExceededLimit, PutResult};

use super::entry::Entry;
use super::{Index, State};
use crate::record::Record;

/// The effect of a registration that is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// The slot of the peer, if it is known.
    pub(crate) slot: Option<u32>,
    /// Whether the token that the caller presented stays valid.
    pub(crate) token_kept: bool,
}

impl Index {
    /// Maximum number of dormant peers evicted for one registration. Even the largest registration
    /// needs the space of fewer.
    const MAX_EVICTED: usize = 64;

    /// Whether `claim` permits to place `entry`. The index must be up to date. Changes nothing.
    pub(crate) fn admit(&self, entry: &Entry, claim: &Claim) -> Result<Admission, PutResult> {
        let slot = self.find(&entry.peer_id, entry.hash);
        let known = slot.map(|slot| self.slots.slot_and_tail(slot));
        let admission =
            Admission { slot, token_kept: known.is_some_and(|(_, tail)| claim.has_token_of(&tail.holder)) };
        let live = known.filter(|(slot, _)| slot.state == State::Live);
        if let Some((live, tail)) = live {
            // The holder rule: only the holder may replace a live registration.
            if !claim.admits(&tail.holder) {
                return Err(PutResult::Held { until: live.expires_at() });
            }
            // At a new address a member counts as a newcomer. Otherwise members could direct the
            // network at a victim one after the other.
            let new_address = entry.content.address_key != tail.address_key;
            if new_address && self.address_is_full(entry.content.address_key) {
                return Err(PutResult::Full(ExceededLimit::Address));
            }
            return Ok(admission);
        }
        self.shortage(entry).map_or(Ok(admission), |shortage| Err(PutResult::Full(shortage)))
    }

    /// The limit that a newcomer would exceed even if all dormant peers were evicted.
    fn shortage(&self, entry: &Entry) -> Option<ExceededLimit> {
        let source = entry.content.holder.source;
        let archetypes = self.archetypes.live() + self.archetypes.new_among(entry.archetypes.as_slice());
        // Loopback addresses are exempt from the limit per source.
        if !source.is_loopback() && self.quota.live_from(source) >= self.limits.max_peers_per_source {
            Some(ExceededLimit::Source)
        } else if self.address_is_full(entry.content.address_key) {
            Some(ExceededLimit::Address)
        } else if archetypes > self.limits.max_archetypes as usize {
            Some(ExceededLimit::Archetypes)
        } else if self.live.len() as u64 >= self.limits.max_peers {
            Some(ExceededLimit::Peers)
        } else if self.bytes - self.dormant_bytes + entry.cost() > self.limits.max_bytes {
            Some(ExceededLimit::Bytes)
        } else {
            None
        }
    }

    /// Evicts dormant peers, oldest first, until `entry` fits.
    pub(crate) fn make_room(
        &mut self,
        entry: &Entry,
        admission: &Admission,
        log: &mut dyn FnMut(&Record<'_>),
    ) {
        let (added, freed) = match admission.slot {
            Some(slot) => (0, self.slots.tail(slot).cost()),
            None => (1, 0),
        };
        // The bound keeps the index from being locked for long.
        for _ in 0..Self::MAX_EVICTED {
            let fits = self.known() as u64 + added <= self.limits.max_peers
                && self.bytes - freed + entry.cost() <= self.limits.max_bytes;
            let Some(oldest) = self.schedule.oldest_dormant_except(admission.slot).filter(|_| !fits) else {
                return;
            };
            self.counts.evicted_for_room += 1;
            self.evict(oldest, log);
        }
    }
}
