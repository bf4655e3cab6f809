//! The counters behind the metrics of the store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aurora_discovery_registry::{MetricValue, StoreMetric};

/// A count since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }
}

/// The counters of a store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections that the writer has established.
    pub(crate) connections: Counter,
    /// Batches of changes that the server refused, or whose reply was lost.
    pub(crate) failures: Counter,
    /// Peers whose changes the script refused, because another process had changed the peer. The
    /// store then decides about these changes again.
    pub(crate) conflicts: Counter,
    /// How often all peers were loaded from the server.
    pub(crate) loads: Counter,
    /// Stored values that could not be parsed.
    pub(crate) unreadable: Counter,
}

impl Counters {
    /// The counters as metrics.
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
