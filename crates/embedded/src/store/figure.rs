//! The metrics of the store.

use std::sync::atomic::Ordering;

use aurora_discovery_registry::{MetricValue, StoreMetric};

use super::EmbeddedStore;
use crate::changes::ChangeFigures;
use crate::index::Counts;
use crate::journal::{JournalFigures, SYNC_BUCKETS_MICROS};

impl EmbeddedStore {
    pub(super) fn all_figures(&self) -> Vec<StoreMetric> {
        let mut figures = self.index_figures();
        if let Some(journal) = &self.journal {
            figures.extend(journal_figures(&journal.figures()));
            figures.extend(self.checkpoint_gauges());
        }
        figures.extend(self.change_figures());
        figures
    }

    fn change_figures(&self) -> [StoreMetric; 4] {
        let ChangeFigures { remembered, bytes, watchers, wakeups } = self.shared.changes.figures();
        [
            gauge("changes", "Changes that are remembered for those who follow.", remembered as f64),
            gauge("changes_bytes", "Bytes that these take.", bytes as f64),
            gauge("watchers", "Those who wait for changes.", watchers as f64),
            counter("wakeups", "Times that one who waits was woken by a change.", wakeups),
        ]
    }

    fn index_figures(&self) -> Vec<StoreMetric> {
        let (known, bytes, counts) = {
            let index = self.shared.index.read();
            (index.known(), index.bytes(), index.counts())
        };
        let Counts {
            expired,
            revived,
            evicted_due,
            evicted_for_room,
            evicted_for_source,
            evicted_for_address,
        } = counts;
        vec![
            gauge("peers", "Peers that the store has, live and dormant.", known as f64),
            gauge("peers_bytes", "Bytes that these count for against the bound.", bytes as f64),
            counter("leases_expired", "Leases that ended.", expired),
            counter("peers_revived", "Dormant peers that a heartbeat brought back.", revived),
            counter("peers_evicted_due", "Dormant peers deleted at the end of their window.", evicted_due),
            counter("peers_evicted_for_room", "Dormant peers deleted for newcomers.", evicted_for_room),
            counter(
                "peers_evicted_for_source",
                "Peers deleted because their source has as many dormant ones as it may.",
                evicted_for_source,
            ),
            counter(
                "peers_evicted_for_address",
                "Dormant peers deleted because as many live ones as may publish their address.",
                evicted_for_address,
            ),
            counter(
                "changes_irrevertible",
                "Changes that were not kept and could not be taken back.",
                self.shared.irrevertible.load(Ordering::Relaxed),
            ),
        ]
    }

    fn checkpoint_gauges(&self) -> [StoreMetric; 5] {
        let figures = self.checkpoint_figures();
        let restored = self.restored();
        [
            counter("checkpoints", "Checkpoints taken.", figures.taken),
            counter("checkpoints_failed", "Checkpoints that could not be taken.", figures.failed),
            gauge("checkpoint_bytes", "Length of the last checkpoint.", figures.bytes as f64),
            gauge(
                "checkpoint_duration_seconds",
                "How long the last checkpoint took.",
                figures.duration.as_secs_f64(),
            ),
            counter(
                "restore_records_skipped",
                "Records that could not be parsed at the start.",
                restored.skipped_records,
            ),
        ]
    }
}

fn journal_figures(figures: &JournalFigures) -> [StoreMetric; 7] {
    [
        gauge(
            "journal_bytes",
            "Bytes of journal that a restart would read beside the checkpoint.",
            figures.bytes_since_checkpoint as f64,
        ),
        counter("journal_written_bytes", "Bytes made durable.", figures.bytes),
        counter("journal_records", "Records made durable.", figures.records),
        counter("journal_batches", "Batches made durable, each with one sync.", figures.batches),
        counter("journal_failures", "Batches that the disk did not take.", figures.failures),
        counter(
            "journal_records_lost",
            "Records nobody waited for that the disk did not take; a checkpoint makes up for them.",
            figures.lost_unwaited,
        ),
        StoreMetric {
            name: "journal_sync_seconds",
            help: "How long syncs of the journal took.",
            value: sync_histogram(figures),
        },
    ]
}

fn sync_histogram(figures: &JournalFigures) -> MetricValue {
    let mut below = 0;
    let buckets = SYNC_BUCKETS_MICROS.iter().zip(figures.sync_buckets).map(|(bound, count)| {
        below += count;
        (*bound as f64 / 1e6, below)
    });
    MetricValue::Histogram {
        buckets: buckets.collect(),
        sum: figures.sync_total.as_secs_f64(),
        count: figures.syncs,
    }
}

fn counter(name: &'static str, help: &'static str, value: u64) -> StoreMetric {
    StoreMetric { name, help, value: MetricValue::Counter(value) }
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> StoreMetric {
    StoreMetric { name, help, value: MetricValue::Gauge(value) }
}
