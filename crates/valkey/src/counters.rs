//! Counts of what the store did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_discovery_registry::{MetricValue, StoreMetric};

/// A count since the start.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}

/// Counts of what the store did.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections of the writer.
    pub(crate) connections: Counter,
    /// Batches of changes that failed.
    pub(crate) failures: Counter,
    /// Changes that were decided again, because another process changed the peer.
    pub(crate) conflicts: Counter,
    /// How often all peers were read.
    pub(crate) loads: Counter,
    /// Stored values that could not be parsed.
    pub(crate) unreadable: Counter,
}

impl Counters {
    /// The metrics.
    pub(crate) fn metrics(&self) -> Vec<StoreMetric> {
        [
            ("valkey_connections_total", "Connections to Valkey for changes", &self.connections),
            ("valkey_failed_batches_total", "Batches of changes that Valkey did not confirm", &self.failures),
            (
                "valkey_conflicts_total",
                "Changes decided again because another process had changed the peer",
                &self.conflicts,
            ),
            ("valkey_loads_total", "How often all peers were read from Valkey", &self.loads),
            ("valkey_unreadable_total", "Values in Valkey that could not be parsed", &self.unreadable),
        ]
        .map(|(name, help, counter)| StoreMetric {
            name,
            help,
            value: MetricValue::Counter(counter.0.load(Relaxed)),
        })
        .into()
    }
}
