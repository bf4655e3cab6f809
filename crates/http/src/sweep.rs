//! The task that sweeps the registry: expired leases leave the lists' memory, and dormant peers are
//! evicted.

use std::sync::Arc;
use std::time::Duration;

use aurora_protocol::Timestamp;
use aurora_registry::StoreError;
use tokio::time::{MissedTickBehavior, interval};

use crate::history::Moment;
use crate::service::Service;

/// How often it sweeps: no response depends on it, only memory and what is counted.
const INTERVAL: Duration = Duration::from_millis(500);

/// Sweeps until it is dropped.
pub(crate) async fn sweep_forever(service: Arc<Service>) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing: Option<StoreError> = None;
    loop {
        interval.tick().await;
        match service.registry.sweep(service.options.clock.now()).await {
            Ok(swept) => {
                service.metrics.swept(swept);
                note(&service, service.options.clock.now()).await;
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

/// Notes how many peers there are and what has happened, where this process sees all of it.
async fn note(service: &Service, now: Timestamp) {
    if !service.registry.sees_every_change() || !service.history.is_due(now) {
        return;
    }
    // What can't be counted now is counted at the next tick.
    if let Ok(census) = service.registry.census(0, now).await {
        service.history.note(Moment::of(&service.metrics, census.live, now));
    }
}
