//! The metrics of the store.

use std::sync::atomic::Ordering;

use aurora_discovery_registry::{MetricValue, StoreMetric};

use super::EmbeddedStore;
use crate::changes::ChangeFigures;
use crate::index::Counts;
use crate::journal::{JournalFigures, SYNC_BUCKETS_MICROS};
use crate::mail::MailFigures;

impl EmbeddedStore {
    pub(super) fn all_figures(&self) -> Vec<StoreMetric> {
        let mut figures = self.index_figures();
        if let Some(journal) = &self.journal {
            figures.extend(journal_figures(&journal.figures()));
            figures.extend(self.checkpoint_gauges());
        }
        figures.extend(self.change_figures());
        // A replica has no mailboxes of its own, because they are in the shared store.
        if self.shared.evicted.is_none() {
            figures.extend(self.mail_figures());
        }
        figures
    }

    fn change_figures(&self) -> [StoreMetric; 4] {
        let ChangeFigures { retained, bytes, watchers, wakeups } = self.shared.changes.figures();
        [
            gauge("changes", "Changes in the change log", retained as f64),
            gauge("changes_bytes", "Memory that the changes in the change log use, in bytes", bytes as f64),
            gauge("watchers", "Open watchers of changes", watchers as f64),
            counter("wakeups", "Times that a change woke a waiting watcher", wakeups),
        ]
    }

    fn mail_figures(&self) -> [StoreMetric; 5] {
        let MailFigures { waiting, bytes, delivered, acknowledged, expired } = self.mail.figures();
        [
            gauge("mail_waiting", "Messages that wait for their receivers", waiting as f64),
            gauge("mail_bytes", "Bytes that messages count against the limit of memory", bytes as f64),
            counter("mail_delivered", "Messages put into a mailbox", delivered),
            counter("mail_acknowledged", "Messages that their receivers acknowledged", acknowledged),
            counter("mail_expired", "Messages deleted because no receiver acknowledged them", expired),
        ]
    }

    fn index_figures(&self) -> Vec<StoreMetric> {
        let (known, signed, bytes, counts) = {
            let index = self.shared.index.read();
            (index.known(), index.signed(), index.bytes(), index.counts())
        };
        let Counts { expired, revived, evicted_due, evicted_for_room, evicted_for_source } = counts;
        vec![
            gauge("peers", "Peers in the store, live and dormant", known as f64),
            gauge("peers_signed", "Live peers whose registrations are signed", signed as f64),
            gauge("peers_bytes", "Bytes that the peers count against the limit of memory", bytes as f64),
            counter("leases_expired", "Leases that ended", expired),
            counter("peers_revived", "Dormant peers that a heartbeat revived", revived),
            counter(
                "peers_evicted_due",
                "Dormant peers evicted at the end of the revival window, or of the lock of their names",
                evicted_due,
            ),
            counter(
                "peers_evicted_for_room",
                "Dormant peers evicted to make room for newcomers",
                evicted_for_room,
            ),
            counter(
                "peers_evicted_for_source",
                "Dormant peers evicted for newcomers from the same source, which had twice its limit of peers",
                evicted_for_source,
            ),
            counter(
                "changes_irrevertible",
                "Changes that the journal failed to store and that could not be reverted",
                self.shared.failed_reverts.load(Ordering::Relaxed),
            ),
        ]
    }

    fn checkpoint_gauges(&self) -> [StoreMetric; 5] {
        let figures = self.checkpoint_figures();
        let restored = self.restored();
        [
            counter("checkpoints", "Checkpoints taken", figures.taken),
            counter("checkpoints_failed", "Checkpoints that failed", figures.failed),
            gauge("checkpoint_bytes", "Length of the last checkpoint, in bytes", figures.bytes as f64),
            gauge(
                "checkpoint_duration_seconds",
                "Duration of the last checkpoint, in seconds",
                figures.duration.as_secs_f64(),
            ),
            counter(
                "restore_records_skipped",
                "Records that could not be parsed at the start and were skipped",
                restored.skipped_records,
            ),
        ]
    }
}

fn journal_figures(figures: &JournalFigures) -> [StoreMetric; 7] {
    [
        gauge(
            "journal_bytes",
            "Bytes of journal that a restart would read in addition to the checkpoint",
            figures.bytes_since_checkpoint as f64,
        ),
        counter("journal_written_bytes", "Bytes made durable in the journal", figures.bytes),
        counter("journal_records", "Records made durable in the journal", figures.records),
        counter("journal_batches", "Batches of records made durable, each with one sync", figures.batches),
        counter("journal_failures", "Batches that could not be made durable", figures.failures),
        counter(
            "journal_records_lost",
            "Background records (evictions, revivals) lost in a disk failure; the next checkpoint makes up for them",
            figures.lost_records,
        ),
        StoreMetric {
            name: "journal_sync_seconds",
            help: "Duration of journal syncs, in seconds",
            value: sync_histogram(figures),
        },
    ]
}

fn sync_histogram(figures: &JournalFigures) -> MetricValue {
    let mut cumulative = 0;
    // Prometheus expects cumulative counts.
    let buckets = SYNC_BUCKETS_MICROS.iter().zip(figures.sync_buckets).map(|(bound, count)| {
        cumulative += count;
        (*bound as f64 / 1e6, cumulative)
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
