//! The archetypes that metrics and warnings name.
//!
//! Clients choose the archetypes of their peers, and a stranger can invent any number of them.
//! Warnings and metrics name only *established* archetypes: those that peers from several sources
//! have had for some time. The set of established archetypes must change slowly, because a
//! monitoring system keeps a series for each archetype that it has seen, often for months.

use std::collections::HashMap;

use aurora_discovery_protocol::{Archetype, NetworkResponse, Timestamp};
use aurora_discovery_registry::{Census, Store};
use parking_lot::Mutex;

/// An archetype becomes established after peers from several sources have had it for the time of
/// this many leases.
const LEASES: u64 = 3;
/// The maximum number of established archetypes. If several candidates compete for the last free
/// entry, the one with the most peers becomes established.
const MAX_ESTABLISHED: usize = 50;
/// How long an archetype without peers stays established. In a day there are therefore at most
/// [`MAX_ESTABLISHED`] new ones.
const KEPT_MILLIS: u64 = 24 * 3_600 * 1_000;

/// Which archetypes are established.
#[derive(Debug)]
pub(crate) struct Established {
    lease_millis: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    observed_at: Timestamp,
    /// The archetypes that are not established yet, and since when peers from several sources have
    /// had each of them.
    candidates: HashMap<Archetype, Timestamp>,
    /// The established archetypes, and when each last had a peer.
    established: Vec<(Archetype, Timestamp)>,
}

impl Established {
    /// The number of archetypes to request in the census for [`Established::observe`].
    pub(crate) const CENSUS: usize = NetworkResponse::MAX_ARCHETYPES;

    /// Begins without archetypes. `lease_millis` is the usual length of a lease.
    pub(crate) fn new(lease_millis: u64) -> Self {
        Self { lease_millis, state: Mutex::default() }
    }

    /// Updates the established archetypes after a census. It should be called several times per
    /// lease.
    pub(crate) fn observe(&self, store: &dyn Store, census: &Census, now: Timestamp) {
        let mut state = self.state.lock();
        self.update_candidates(&mut state, store, census, now);
        for (archetype, seen_at) in &mut state.established {
            if peers(store, census, archetype, now) > 0 {
                *seen_at = now;
            }
        }
        state.established.retain(|(_, seen_at)| now.millis_since(*seen_at) < KEPT_MILLIS);
        for (archetype, _) in &census.by_archetype {
            if state.established.len() >= MAX_ESTABLISHED {
                break;
            }
            let since = state.candidates.get(archetype);
            if since.is_some_and(|since| now.millis_since(*since) >= LEASES * self.lease_millis) {
                state.candidates.remove(archetype);
                state.established.push((archetype.clone(), now));
            }
        }
    }

    /// The established archetypes with the number of live peers of each, in the order in which they
    /// were established.
    pub(crate) fn counts(&self, store: &dyn Store, census: &Census, now: Timestamp) -> Vec<(Archetype, u64)> {
        let archetypes: Vec<_> =
            self.state.lock().established.iter().map(|(archetype, _)| archetype.clone()).collect();
        let with_count = |archetype: Archetype| {
            let peers = peers(store, census, &archetype, now);
            (archetype, peers)
        };
        archetypes.into_iter().map(with_count).collect()
    }

    /// Updates the candidates: the archetypes of this census that are not established yet and that
    /// several sources use, as far as the store can tell. All other candidates are forgotten, so
    /// there are never more candidates than archetypes in a census.
    fn update_candidates(&self, state: &mut State, store: &dyn Store, census: &Census, now: Timestamp) {
        // If more than a lease has passed since the last observation, all candidates start over,
        // because it is not known whether they had peers in the meantime.
        let is_continuous = now.millis_since(state.observed_at) <= self.lease_millis;
        let before = std::mem::take(&mut state.candidates);
        for (archetype, _) in &census.by_archetype {
            let is_established = state.established.iter().any(|(other, _)| other == archetype);
            if !is_established && has_several_sources(store, archetype, now) {
                let since = before.get(archetype).copied().filter(|_| is_continuous).unwrap_or(now);
                state.candidates.insert(archetype.clone(), since);
            }
        }
        state.observed_at = now;
    }
}

/// The number of live peers of an archetype. If the store can't tell, the number comes from the
/// census, which has only the most frequent archetypes.
fn peers(store: &dyn Store, census: &Census, archetype: &Archetype, now: Timestamp) -> u64 {
    let counted =
        || census.by_archetype.iter().find(|(other, _)| other == archetype).map(|(_, peers)| *peers);
    store.archetype_census(archetype, now).map(|census| census.peers).or_else(counted).unwrap_or_default()
}

/// Whether the peers of an archetype come from several sources. The store on DynamoDB can't tell.
/// There, an archetype becomes established by time alone.
fn has_several_sources(store: &dyn Store, archetype: &Archetype, now: Timestamp) -> bool {
    store.archetype_census(archetype, now).is_none_or(|census| census.several_sources)
}
