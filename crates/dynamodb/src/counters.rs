//! The counters of a store, from which its metrics are made.

use std::sync::atomic::{AtomicU64, Ordering};

use aurora_discovery_registry::{MetricValue, StoreMetric};

/// Read and write units that were billed for the table and its index, as reported by DynamoDB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Read request units.
    pub read: f64,
    /// Write request units. A conditional write that is refused is billed, but DynamoDB does not
    /// report how much.
    pub write: f64,
}

/// Counts since the store was created. The help texts of [`Counters::metrics`] describe them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: Counter,
    pub(crate) failures: Counter,
    pub(crate) refused_writes: Counter,
    pub(crate) unreadable_items: Counter,
    pub(crate) stale_entries: Counter,
    pub(crate) delisted: Counter,
    pub(crate) snapshots: Counter,
    read_units: UnitCounter,
    write_units: UnitCounter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, by: usize) {
        self.0.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter of units. It counts half units, because DynamoDB bills multiples of half a unit.
#[derive(Debug, Default)]
struct UnitCounter(AtomicU64);

impl UnitCounter {
    fn add(&self, units: f64) {
        let mut halves = 0;
        // Counts the half units one by one, which avoids a lossy conversion. This is fast enough,
        // because a call is billed at most a few thousand units.
        let mut rest = (units.max(0.0) * 2.0).round();
        while rest >= 1.0 && halves < 100_000 {
            halves += 1;
            rest -= 1.0;
        }
        self.0.fetch_add(halves, Ordering::Relaxed);
    }

    fn value(&self) -> f64 {
        let halves = self.0.load(Ordering::Relaxed);
        // An `f64` represents every number of 32 bits exactly, so each half is converted
        // separately.
        let high = u32::try_from(halves >> 32).unwrap_or(u32::MAX);
        let low = u32::try_from(halves & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        (f64::from(high) * 4_294_967_296.0 + f64::from(low)) / 2.0
    }

    fn whole(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / 2
    }
}

impl Counters {
    pub(crate) fn record_read(&self, units: Option<f64>) {
        self.calls.add(1);
        self.read_units.add(units.unwrap_or_default());
    }

    pub(crate) fn record_write(&self, units: Option<f64>) {
        self.calls.add(1);
        self.write_units.add(units.unwrap_or_default());
    }

    pub(crate) fn units(&self) -> Units {
        Units { read: self.read_units.value(), write: self.write_units.value() }
    }

    pub(crate) fn metrics(&self) -> Vec<StoreMetric> {
        let figure = |name, help, value| StoreMetric { name, help, value: MetricValue::Counter(value) };
        vec![
            figure("dynamodb_calls_total", "DynamoDB API calls that returned a response", self.calls.value()),
            figure(
                "dynamodb_failures_total",
                "DynamoDB API calls that failed after all retries",
                self.failures.value(),
            ),
            figure(
                "dynamodb_refused_writes_total",
                "Conditional writes that failed because another process changed the item; each is billed",
                self.refused_writes.value(),
            ),
            figure(
                "dynamodb_read_units_total",
                "Read units billed, including those of the index",
                self.read_units.whole(),
            ),
            figure(
                "dynamodb_write_units_total",
                "Write units billed, including those of the index",
                self.write_units.whole(),
            ),
            figure(
                "dynamodb_unreadable_items_total",
                "Items skipped because they cannot be parsed",
                self.unreadable_items.value(),
            ),
            figure(
                "dynamodb_stale_entries_total",
                "Index entries read that were out of date: the peer is deleted, dormant or changed",
                self.stale_entries.value(),
            ),
            figure(
                "dynamodb_delisted_peers_total",
                "Dormant peers removed from the index",
                self.delisted.value(),
            ),
            figure(
                "dynamodb_snapshots_total",
                "Scans that read a small network completely",
                self.snapshots.value(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_units_add_up() {
        let counters = Counters::default();
        for units in [0.5, 1.0, 7.5, 0.0] {
            counters.record_read(Some(units));
        }
        counters.record_write(Some(6.0));
        counters.record_write(None);
        assert_eq!(counters.units(), Units { read: 9.0, write: 6.0 });
    }
}
