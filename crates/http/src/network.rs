//! The network's figures, for both `/network` and the metrics.

pub(crate) mod established;
mod risk;

use aurora_discovery_protocol::{ArchetypePeers, NetworkResponse, Timestamp};
use aurora_discovery_registry::Census;

use crate::history::{Snapshot, rounded};
use crate::service::Service;

/// The network's figures at `now`, the time of the census.
pub(crate) fn figures(service: &Service, census: Census, now: Timestamp) -> NetworkResponse {
    let summary = service.history.summary(Snapshot::of(&service.metrics, census.live, now));
    let undiscovered_ratio =
        service.registry.store().undiscovered_ratio(now).map(|ratio| rounded(ratio, 1e3));
    service.established.observe(service.registry.store(), &census, now);
    let established = service.established.counts(service.registry.store(), &census, now);
    let at_risk = risk::sentences(census.live, &established, summary.as_ref(), undiscovered_ratio);
    let archetypes = census.by_archetype.into_iter();
    NetworkResponse {
        timestamp: service.registry.shown(now),
        peers: census.live,
        archetypes: archetypes.map(|(archetype, peers)| ArchetypePeers { archetype, peers }).collect(),
        rates: summary.and_then(|summary| summary.rates),
        undiscovered_ratio,
        at_risk,
    }
}
