//! The task that owns the clock: it has what is due ended, again and again.

use std::sync::Arc;
use std::time::Duration;

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
