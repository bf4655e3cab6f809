//! The journal's guarantees on a disk that tears writes, loses data, runs full, fails and stalls.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod checkpoint;
mod concurrency;
mod damage;
mod directory;
mod failure;
mod mutation;
mod power_loss;
mod round_trip;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use aurora_discovery_embedded::testing::{Commit, Hooks, Journal, JournalOptions};
use aurora_discovery_embedded::testing::{Disk, LossyDisk};
use aurora_discovery_embedded::{OpenError, RecoveryReport, Unavailable};

/// A notification to the store.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Failed(Vec<u64>),
    Healed,
}

struct EventHooks(Sender<Event>);

impl Hooks<u64> for EventHooks {
    fn failed(&self, undos: Vec<u64>) {
        self.0.send(Event::Failed(undos)).ok();
    }

    fn healed(&self) {
        self.0.send(Event::Healed).ok();
    }
}

struct Opened {
    journal: Journal<u64>,
    recovery: RecoveryReport,
    records: Vec<Vec<u8>>,
    events: Receiver<Event>,
}

fn options() -> JournalOptions {
    let mut options = JournalOptions::default();
    options.preallocate = 4096;
    options.heal_interval = Duration::from_millis(1);
    options.lock_wait = Duration::ZERO;
    options
}

fn dropping_damage() -> JournalOptions {
    let mut options = options();
    options.drop_damaged = true;
    options
}

fn open(disk: &LossyDisk) -> Opened {
    open_with(disk, options()).unwrap()
}

fn open_with(disk: &LossyDisk, options: JournalOptions) -> Result<Opened, OpenError> {
    open_disk(Arc::new(disk.clone()), options)
}

fn open_disk(disk: Arc<dyn Disk>, options: JournalOptions) -> Result<Opened, OpenError> {
    let mut records = Vec::new();
    let (recovered, recovery) = Journal::recover(disk, options, |record| records.push(record.to_vec()))?;
    let (sender, events) = channel();
    let journal = recovered.start(EventHooks(sender)).unwrap();
    Ok(Opened { journal, recovery, records, events })
}

/// The records on a disk.
fn records(disk: &LossyDisk) -> Vec<Vec<u8>> {
    open(disk).records
}

/// Blocks until the record is durable, or the journal reports that it could not store it.
fn wait(commit: Commit) -> Result<(), Unavailable> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(commit)
}

impl Opened {
    fn append(&self, record: &[u8]) {
        wait(self.journal.append(record, Some(0)).unwrap()).unwrap();
    }
}
