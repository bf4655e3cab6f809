#![doc = include_str!("../README.md")]
//!
//! ## How it works
//!
//! Peers are found and listed in the index only. The journal is read only when the store is opened.
//! A registration or deregistration changes the index and is appended to the journal under one
//! lock, so both have the same order. It is acknowledged once the journal reports it durable. If
//! the journal fails, it is reverted.
//!
//! With the feature `testing`, the module `testing` exports the journal and the file layer, for
//! tests, benchmarks and fuzzing.

mod block_file;
mod changes;
#[cfg_attr(not(any(test, feature = "testing")), allow(unreachable_pub, reason = "`testing` exports it"))]
mod disk;
mod index;
#[cfg_attr(not(any(test, feature = "testing")), allow(unreachable_pub, reason = "`testing` exports it"))]
mod journal;
mod mail;
mod record;
mod signature;
mod store;

pub use journal::{CheckpointError, CheckpointReport, OpenError, RecoveryReport, Unavailable};
pub use store::{EmbeddedOptions, EmbeddedStore, RestoreReport};

/// A copy of the peers of a store that several processes share, for crates that implement such a
/// store.
pub mod replica {
    pub use crate::index::LeaseState;
    pub use crate::store::{Applied, Change, RemoteState, Replica};
}

/// The journal, the file layer, and a function that opens a store on any disk.
#[cfg(any(test, feature = "testing"))]
pub mod testing {
    use std::sync::Arc;

    use aurora_discovery_protocol::Timestamp;

    use crate::{EmbeddedOptions, EmbeddedStore};

    pub use crate::disk::{Disk, DiskFile, DiskLock, FileId, LossyDisk, Stall, StdDisk};
    pub use crate::journal::{
        CheckpointWriter, Commit, Hooks, Journal, JournalFigures, JournalOptions, RecoveredJournal,
    };

    /// Opens a store on the given disk and ignores the directory that the options name.
    ///
    /// # Errors
    /// The same as [`EmbeddedStore::open`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: EmbeddedOptions,
        now: Timestamp,
    ) -> Result<Arc<EmbeddedStore>, crate::OpenError> {
        EmbeddedStore::open_on(disk, options, now)
    }
}
