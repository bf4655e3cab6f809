//! The task that sweeps the registry twice a second. In a sweep, the store ends the leases that
//! have expired, and evicts the dormant peers that no heartbeat can revive any more. The task also
//! enforces blocks, forgets idle sources, and records snapshots for `/network`.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Subject, Timestamp};
use aurora_discovery_registry::StoreError;
use tokio::time::{MissedTickBehavior, interval};

use crate::history::Snapshot;
use crate::network::established::Established;
use crate::service::Service;

/// The interval between sweeps. Watchers learn within this time that a lease has ended. Lists of
/// peers do not wait for a sweep, because a store never lists a peer whose lease has ended.
const INTERVAL: Duration = Duration::from_millis(500);

/// Sweeps until the future is dropped.
pub(crate) async fn sweep_forever(service: Arc<Service>) {
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing: Option<StoreError> = None;
    let mut blocks = BlockEnforcer::default();
    loop {
        interval.tick().await;
        service.rates.forget_idle_sources();
        if let Some(audit) = &service.options.audit {
            service.metrics.audit_lines_lost.inc_by(audit.take_lost());
        }
        blocks.enforce(&service).await;
        match service.registry.store().sweep(service.options.clock.now()).await {
            Ok(swept) => {
                service.metrics.swept(swept);
                record_snapshot(&service, service.options.clock.now()).await;
                if failing.take().is_some() {
                    tracing::info!("the sweep of expired leases works again");
                }
            }
            // A failure that persists is logged once.
            Err(error) if failing.as_ref() != Some(&error) => {
                tracing::warn!(cause = %error, "the sweep of expired leases failed");
                failing = Some(error);
            }
            Err(_) => {}
        }
    }
}

/// Enforces the blocks that operators have set through any process that shares the store.
#[derive(Default)]
struct BlockEnforcer {
    /// The subjects whose blocks this process has enforced. `None` before the first sweep.
    enforced: Option<HashSet<Subject>>,
    is_failing: bool,
}

impl BlockEnforcer {
    /// Reads the list of blocks, which other processes may have changed, and evicts the peers of
    /// new blocks. Such peers may have registered before this process knew of their block.
    async fn enforce(&mut self, service: &Service) {
        match service.registry.obey_blocks(&mut self.enforced, service.options.clock.now()).await {
            Ok(evicted) => {
                self.is_failing = false;
                if evicted > 0 {
                    tracing::info!(peers = evicted, "evicted peers that another process has blocked");
                }
            }
            // A failure that persists is logged once.
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(cause = %error, "the list of blocks can't be read");
            }
            Err(_) => {}
        }
    }
}

/// Records the number of peers and the counters, but only if this process sees every change of the
/// network. If several processes share the store, it does not see the changes made through the
/// others.
async fn record_snapshot(service: &Service, now: Timestamp) {
    if !service.registry.store().sees_every_change() || !service.history.is_due(now) {
        return;
    }
    // If the census fails, the next tick tries again.
    if let Ok(census) = service.registry.store().census(Established::CENSUS, now).await {
        service.established.observe(service.registry.store(), &census, now);
        service.history.record(Snapshot::of(&service.metrics, census.live, now));
    }
}
