//! Opening a store: reading it back, and extending the leases of its peers.

mod load;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::Limits;
use parking_lot::RwLock;

use super::{EmbeddedStore, Shared};
use crate::block_file::BlockFile;
use crate::disk::{Disk, StdDisk};
use crate::index::{Index, Keys, ParsedRecord, Undo};
use crate::journal::{Hooks, Journal, JournalOptions, OpenError, RecoveryReport};
use crate::mail::MailStore;
use load::load;

/// The options of a store.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// The data directory. Created if it does not exist. `None` means in memory only.
    pub directory: Option<PathBuf>,
    /// The limits to enforce, which must be those of the registry that uses the store.
    pub limits: Limits,
    /// Skip damaged parts of the journal instead of refusing to open. An operator sets this for a
    /// single start.
    pub drop_damaged: bool,
    /// How long a journal that has failed waits between two attempts to heal, that is, to write
    /// again.
    pub heal_interval: Duration,
    /// Bytes that are preallocated after the end of the journal at once.
    pub preallocate: u64,
    /// How long opening waits for another process to release the directory.
    pub lock_wait: Duration,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        let JournalOptions { drop_damaged, heal_interval, preallocate, lock_wait } =
            JournalOptions::default();
        let limits = Limits::default();
        Self { directory: None, limits, drop_damaged, heal_interval, preallocate, lock_wait }
    }
}

/// What opening a store restored from disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Number of live peers. Each has a full lease.
    pub live: u64,
    /// Number of dormant peers.
    pub dormant: u64,
    /// Records that could not be parsed and were skipped.
    pub skipped_records: u64,
    /// The result of the journal's recovery.
    pub journal: RecoveryReport,
    /// Duration of opening.
    pub duration: Duration,
}

impl EmbeddedStore {
    /// Opens a store. Blocks while it reads the directory, which takes a second or two for a
    /// million peers. If another process uses the directory, it first waits for up to
    /// [`EmbeddedOptions::lock_wait`].
    ///
    /// Every peer that was live when the store stopped gets a full lease from `now`, because its
    /// heartbeats could not arrive.
    ///
    /// # Errors
    /// [`OpenError`] describes the problem and what the operator can do about it.
    pub fn open(options: EmbeddedOptions, now: Timestamp) -> Result<Arc<Self>, OpenError> {
        let Some(directory) = options.directory.clone() else { return Ok(Self::in_memory(options.limits)) };
        let disk = StdDisk::new(&directory)
            .map_err(|source| io_error("open", &directory.display().to_string(), source))?;
        Self::open_on(Arc::new(disk), options, now)
    }

    /// Opens a store without a disk.
    pub fn in_memory(limits: Limits) -> Arc<Self> {
        let keys = Keys::new();
        let index = Index::new(limits, keys.clone());
        let shared = Arc::new(Shared::new(index, keys));
        Arc::new(Self::of(shared, None, BlockFile::in_memory(), RestoreReport::default()))
    }

    /// Opens a store on the given disk and ignores the directory that the options name.
    ///
    /// # Errors
    /// The same as [`EmbeddedStore::open`].
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        options: EmbeddedOptions,
        now: Timestamp,
    ) -> Result<Arc<Self>, OpenError> {
        let started = Instant::now();
        let keys = Keys::new();
        let location = disk.location();
        let EmbeddedOptions { limits, drop_damaged, heal_interval, preallocate, lock_wait, directory: _ } =
            options;
        let journal = JournalOptions { drop_damaged, heal_interval, preallocate, lock_wait };
        let (recovered, mut loaded) =
            load(Arc::clone(&disk), journal, Index::loading(limits, keys.clone()), &keys)?;
        let blocks =
            BlockFile::load(disk).map_err(|source| io_error("read the blocks in", &location, source))?;
        loaded.index.restore(now, |max| fastrand::u64(..=max));

        let census = loaded.index.census(0);
        let restored = RestoreReport {
            live: census.live,
            dormant: census.dormant,
            skipped_records: loaded.skipped,
            journal: loaded.recovery,
            duration: started.elapsed(),
        };
        let shared = Arc::new(Shared::new(loaded.index, keys));
        // Damage that was dropped would be found again at every start, until a checkpoint replaces
        // the journal.
        shared.checkpoint_wanted.store(restored.journal.dropped_ranges > 0, Ordering::Relaxed);
        let journal = recovered
            .start(Reverter(Arc::clone(&shared)))
            .map_err(|source| io_error("start the journal thread for", &location, source))?;
        Ok(Arc::new(Self::of(shared, Some(Arc::new(journal)), blocks, restored)))
    }

    /// Opens an empty store in memory. It keeps a list of the peers that it evicts.
    pub(super) fn in_memory_of_replica(limits: Limits) -> Self {
        let keys = Keys::new();
        let mut index = Index::new(limits, keys.clone());
        let evicted = index.list_evicted();
        let mut shared = Shared::new(index, keys);
        shared.evicted = Some(evicted);
        Self::of(Arc::new(shared), None, BlockFile::in_memory(), RestoreReport::default())
    }

    fn of(
        shared: Arc<Shared>,
        journal: Option<Arc<Journal<Undo>>>,
        blocks: BlockFile,
        restored: RestoreReport,
    ) -> Self {
        let blocks = Arc::new(blocks);
        Self { shared, journal, checkpointer: Arc::default(), blocks, mail: MailStore::default(), restored }
    }
}

impl Shared {
    fn new(index: Index, keys: Keys) -> Self {
        Self {
            changes: index.changes().clone(),
            index: RwLock::new(index),
            keys,
            closed: AtomicBool::new(false),
            checkpoint_wanted: AtomicBool::new(false),
            failed_reverts: AtomicU64::new(0),
            evicted: None,
        }
    }
}

/// Reverts the changes in the index that the journal could not make durable.
struct Reverter(Arc<Shared>);

impl Hooks<Undo> for Reverter {
    fn failed(&self, undos: Vec<Undo>) {
        // The records are parsed before the index is locked, because there may be many of them.
        let parse = |undo: Undo| Ok((ParsedRecord::parse(&undo.record, &self.0.keys)?, undo.unrecorded));
        let before: Vec<Result<_, String>> = undos.into_iter().map(parse).collect();
        for before in before {
            match before {
                Ok((before, unrecorded)) => self.0.write().revert(before, unrecorded),
                Err(error) => {
                    self.0.failed_reverts.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(error, "a change that the journal failed to store could not be reverted");
                }
            }
        }
    }

    fn healed(&self) {
        self.0.checkpoint_wanted.store(true, Ordering::Relaxed);
    }
}

fn io_error(action: &'static str, directory: &str, source: io::Error) -> OpenError {
    OpenError::Io { action, name: "the directory".to_owned(), directory: directory.to_owned(), source }
}
