//! Admission of registrations, and eviction of dormant peers to make room for them.
//!
//! Limits apply to what a registration adds. A live peer may keep what it has. Only what it adds
//! counts: another source, another address, more bytes, or archetypes that no live peer has.

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{ExceededLimit, Network, PutResult, Replacement, Source, Standing};

use super::entry::Entry;
use super::memory::source::PackedSource;
use super::memory::tail::Tail;
use super::quota::AddressKeys;
use super::{Index, State};
use crate::record::Record;

/// The effect of a registration that is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// The slot of the peer, if it is known.
    pub(crate) slot: Option<u32>,
    /// Whether the token that the caller presented stays valid.
    pub(crate) token_kept: bool,
    /// The size of the peer in bytes, as it will count against `max_bytes`, including the
    /// archetypes that no live peer has yet.
    bytes: u64,
}

impl Index {
    /// Maximum number of dormant peers evicted for one registration. The memory of this many peers
    /// is enough for the largest registration.
    const MAX_EVICTED: usize = 64;

    /// Checks whether the rules and the limits permit the registration `entry`. If the registration
    /// is signed, this also sets the lock and the record in `entry`. The index must be up to `now`,
    /// and is not changed.
    pub(crate) fn admit(
        &self,
        entry: &mut Entry,
        put: &Replacement<'_>,
        now: Timestamp,
    ) -> Result<Admission, PutResult> {
        let slot = self.find(&entry.peer_id, entry.hash);
        let standing = slot.map(|slot| self.standing(slot, now));
        let mut token_kept = false;
        if let Some(standing) = &standing {
            standing.check_registration(put, now)?;
            token_kept = put.keeps_token_of(&standing.holder);
        }
        if let Some(signature) = put.signing.signature() {
            entry.content.signed = Some(Standing::sign(standing.as_ref(), signature, now));
        }
        let entry = &*entry;
        let (new_archetypes, archetype_bytes) = self.archetypes.new_among(entry.archetypes.as_slice());
        let bytes = entry.cost() + archetype_bytes;
        let live = slot.map(|slot| self.slots.slot_and_tail(slot));
        let live = live.filter(|(slot, _)| slot.state == State::Live).map(|(_, tail)| tail);
        let exceeded = self
            .exceeded_of_source(entry.content.holder.source, live)
            .or_else(|| self.exceeded_of_address(entry, live))
            .or_else(|| self.exceeded_of_all(entry, (new_archetypes, bytes), live));
        exceeded.map_or(Ok(Admission { slot, token_kept, bytes }), |limit| Err(PutResult::Full(limit)))
    }

    /// The limit per source or network that a registration would exceed, if any. `live` is the peer
    /// if it is live already.
    fn exceeded_of_source(&self, source: Source, live: Option<&Tail>) -> Option<ExceededLimit> {
        // Programs on the service's own machine are trusted.
        if source.is_loopback() {
            return None;
        }
        let before = live.map(|tail| tail.source.unpack());
        let limits = &self.limits;
        let is_full = |network: Network, before: Option<Network>, max: u32| {
            before != Some(network) && is_reached(self.quota.live_in(network), max)
        };
        if before != Some(source) && is_reached(self.quota.live_from(source), limits.max_peers_per_source) {
            return Some(ExceededLimit::Source);
        }
        if is_full(source.network(), before.map(Source::network), limits.max_peers_per_network) {
            return Some(ExceededLimit::Network);
        }
        let site = source.site()?;
        is_full(site, before.and_then(Source::site), limits.max_peers_per_site).then_some(ExceededLimit::Site)
    }

    /// The limit per published address that a registration would exceed, if any.
    fn exceeded_of_address(&self, entry: &Entry, live: Option<&Tail>) -> Option<ExceededLimit> {
        let content = &entry.content;
        let source = PackedSource::new(content.holder.source);
        let keys = self.quota.address_keys(content.host_key, content.port, source)?;
        let before = live.and_then(|tail| self.quota.address_keys_of(tail));
        let is_full = |key: fn(&AddressKeys) -> u64, max: u32| {
            before.as_ref().map(key) != Some(key(&keys)) && is_reached(self.quota.live_at(key(&keys)), max)
        };
        // A source may use half of a limit, but at least one peer.
        let share = |max: u32| if max == 1 { 1 } else { max / 2 };
        let (per_endpoint, per_host) = (self.limits.max_peers_per_address, self.limits.max_peers_per_host);
        if is_full(|keys| keys.endpoint, per_endpoint)
            || is_full(|keys| keys.endpoint_share, share(per_endpoint))
        {
            return Some(ExceededLimit::Address);
        }
        let is_full = is_full(|keys| keys.host, per_host) || is_full(|keys| keys.host_share, share(per_host));
        is_full.then_some(ExceededLimit::Host)
    }

    /// The limit of the whole registry that a registration would exceed even if all dormant peers
    /// were evicted. `added` has two values: the number of archetypes of the registration that no
    /// live peer has, and the bytes of the peer and of these archetypes.
    fn exceeded_of_all(
        &self,
        entry: &Entry,
        added: (usize, u64),
        live: Option<&Tail>,
    ) -> Option<ExceededLimit> {
        let (new_archetypes, bytes) = added;
        // The archetypes of this peer that no other live peer has, and that its new registration
        // lacks.
        let (given_up, given_up_bytes) = live.map_or((0, 0), |tail| {
            self.archetypes.only_of(tail.memberships.as_slice(), entry.archetypes.as_slice())
        });
        let archetypes = self.archetypes.live() + new_archetypes - given_up;
        if new_archetypes > 0 && archetypes > self.limits.max_archetypes as usize {
            return Some(ExceededLimit::Archetypes);
        }
        if live.is_none() && self.live.len() as u64 >= self.limits.max_peers {
            return Some(ExceededLimit::Peers);
        }
        let before = live.map_or(0, Tail::cost) + given_up_bytes;
        let others = self.bytes - self.dormant_bytes + self.archetypes.live_bytes() - before;
        (bytes > before && others + bytes > self.limits.max_bytes).then_some(ExceededLimit::Bytes)
    }

    /// Evicts dormant peers until `entry` fits, those whose evictions are scheduled first. Before
    /// that, it may evict one dormant peer of the same source, whether or not space is needed.
    pub(crate) fn make_room(
        &mut self,
        entry: &Entry,
        admission: &Admission,
        log: &mut dyn FnMut(&Record<'_>),
    ) {
        self.evict_dormant_of_source(entry.content.holder.source, admission.slot, log);
        let (added, freed) = match admission.slot {
            Some(slot) => (0, self.slots.tail(slot).cost()),
            None => (1, 0),
        };
        // The number of evictions is bounded, so that the index is not locked for long.
        for _ in 0..Self::MAX_EVICTED {
            let fits = (added == 0 || self.known() as u64 + added <= self.limits.max_peers)
                && (admission.bytes <= freed
                    || self.bytes() - freed + admission.bytes <= self.limits.max_bytes);
            let Some(oldest) = self.schedule.oldest_dormant_except(admission.slot).filter(|_| !fits) else {
                return;
            };
            self.counts.evicted_for_room += 1;
            self.evict(oldest, log);
        }
    }

    /// Evicts the oldest dormant peer of a source, if a registration adds a peer to the source and
    /// the source already has twice as many peers, live and dormant, as may be live. Without this,
    /// a source that keeps registering new ids would fill the memory with dormant peers.
    fn evict_dormant_of_source(
        &mut self,
        source: Source,
        slot: Option<u32>,
        log: &mut dyn FnMut(&Record<'_>),
    ) {
        let packed = PackedSource::new(source);
        let adds = slot.is_none_or(|slot| self.slots.tail(slot).source != packed);
        let max = u64::from(self.limits.max_peers_per_source) * 2;
        let known = u64::from(self.quota.live_from(source)) + u64::from(self.dormant.len(packed));
        if !adds || max == 0 || source.is_loopback() || known < max {
            return;
        }
        if let Some(oldest) = self.dormant.oldest(packed) {
            self.counts.evicted_for_source += 1;
            self.evict(oldest, log);
        }
    }
}

/// Whether a limit per source, network or address is reached. Zero means no limit.
fn is_reached(count: u32, max: u32) -> bool {
    max > 0 && count >= max
}
