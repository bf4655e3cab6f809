//! The task that owns the clock: it has what is due ended, again and again.

use std::sync::Arc;
use std::time::Duration;

use aurora_protocol::Timestamp;
use aurora_registry::{Registry, StoreError};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::metrics::Metrics;

/// How often leases are ended: no answer depends on it, only memory and what is counted.
const INTERVAL: Duration = Duration::from_millis(500);

/// Sweeps until it is dropped.
pub(crate) async fn sweep_forever(registry: Arc<Registry>, clock: Clock, metrics: Arc<Metrics>) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing: Option<StoreError> = None;
    loop {
        interval.tick().await;
        match registry.sweep(clock.now()).await {
            Ok(swept) => {
                metrics.swept(swept);
                note(&registry, clock.now(), &metrics).await;
                if failing.take().is_some() {
                    tracing::info!("leases are ended again");
                }
            }
            Err(error) if failing.as_ref() != Some(&error) => {
                tracing::warn!(cause = %error, "leases that are over could not be ended");
                failing = Some(error);
            }
            Err(_) => {}
        }
    }
}

/// Notes how the network stands, where this process sees all of it.
async fn note(registry: &Registry, now: Timestamp, metrics: &Metrics) {
    if !registry.sees_every_change() || !metrics.history.is_due(now) {
        return;
    }
    // What can't be counted now is counted at the next tick.
    if let Ok(census) = registry.census(0, now).await {
        metrics.history.note(metrics.moment(census.live, now));
    }
}
