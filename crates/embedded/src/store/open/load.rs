//! Loads the peers from disk in three stages, each in its own thread: reading records, parsing
//! them, and applying them to the index. Parsing is most of the work, and the other two stages run
//! while it does.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::disk::Disk;
use crate::index::{Index, Keys, ParsedRecord};
use crate::journal::{Journal, JournalOptions, OpenError, RecoveredJournal, RecoveryReport};

/// Bytes of records that a stage passes to the next one at once.
const BATCH_BYTES: usize = 256 << 10;
/// Maximum number of batches that wait between two stages.
const BATCHES: usize = 8;

/// The result of loading.
pub(super) struct Loaded {
    pub(super) index: Index,
    pub(super) recovery: RecoveryReport,
    pub(super) skipped: u64,
}

/// Concatenated records, and the end of each.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Fills `index` from `disk`. The directory stays locked from here on.
pub(super) fn load(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    index: Index,
    keys: &Keys,
) -> Result<(RecoveredJournal, Loaded), OpenError> {
    thread::scope(|scope| {
        let (records, to_parse) = sync_channel(BATCHES);
        let (parsed, to_apply) = sync_channel(BATCHES);
        let parser = scope.spawn(move || parse(&to_parse, &parsed, keys));
        let applier = scope.spawn(move || apply(&to_apply, index));
        let outcome = read(disk, options, records);
        let skipped = parser.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let index = applier.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (recovered, recovery) = outcome?;
        Ok((recovered, Loaded { index, recovery, skipped }))
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the parser ends when the sender is dropped")]
fn read(
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    records: SyncSender<Batch>,
) -> Result<(RecoveredJournal, RecoveryReport), OpenError> {
    let mut batch = Batch::default();
    // If a later stage has ended already, it has panicked, and `load` propagates the panic.
    let outcome = Journal::recover(disk, options, |record| {
        batch.bytes.extend_from_slice(record);
        batch.ends.push(batch.bytes.len());
        if batch.bytes.len() >= BATCH_BYTES {
            let _ = records.send(std::mem::take(&mut batch));
        }
    });
    let _ = records.send(batch);
    outcome
}

/// Parses records. Returns the number of records that it skipped.
fn parse(records: &Receiver<Batch>, parsed: &SyncSender<Vec<ParsedRecord>>, keys: &Keys) -> u64 {
    let mut skipped = 0;
    for Batch { bytes, ends } in records {
        let mut batch = Vec::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            match ParsedRecord::parse(&bytes[start..end], keys) {
                Ok(record) => batch.push(record),
                Err(error) => {
                    skipped += 1;
                    tracing::warn!(error, "skipped a journal record that cannot be parsed");
                }
            }
            start = end;
        }
        // The next stage ends early only by a panic, which `load` propagates.
        if parsed.send(batch).is_err() {
            break;
        }
    }
    skipped
}

fn apply(parsed: &Receiver<Vec<ParsedRecord>>, mut index: Index) -> Index {
    for record in parsed.iter().flatten() {
        index.replay(record);
    }
    index
}
