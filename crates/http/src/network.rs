//! `GET /network`, and the same figures for the metrics.

mod history;
mod risk;

use aurora_protocol::{ArchetypePeers, NetworkResponse, Timestamp};
use aurora_registry::{Census, Registry};

use crate::answer::Answer;
use crate::call::Call;
use crate::error::Failure;
use crate::metrics::Metrics;

pub(crate) use history::{History, Moment};

pub(crate) async fn network(call: Call<'_>) -> Result<Answer, Failure> {
    let census = call.registry.census(NetworkResponse::MAX_ARCHETYPES, call.now).await?;
    Answer::json(&figures(call.registry, call.metrics, census, call.now))
}

/// The network's figures at `now`, when its peers were counted.
pub(crate) fn figures(
    registry: &Registry,
    metrics: &Metrics,
    census: Census,
    now: Timestamp,
) -> NetworkResponse {
    let recent = metrics.history.recent(metrics.moment(census.live, now));
    let share = registry.introduced_to_nobody_share(now).map(|share| rounded(share, 1e3));
    let at_risk = risk::sentences(&census, recent.as_ref(), share);
    let archetypes = census.by_archetype.into_iter();
    NetworkResponse {
        timestamp: now,
        peers: census.live,
        archetypes: archetypes.map(|(archetype, peers)| ArchetypePeers { archetype, peers }).collect(),
        rates: recent.and_then(|recent| recent.rates),
        introduced_to_nobody_share: share,
        at_risk,
    }
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}
