//! The journal's thread, the only writer of the journal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Hooks;
use super::batch::Unavailable;
use super::file::JournalFile;
use super::file_name;
use super::format::{FrameBuffer, next_epoch};
use super::queue::{PendingBatch, Queue, Request, Rotation};
use crate::disk::{Disk, DiskLock};

pub(crate) struct Writer<U> {
    pub(crate) queue: Arc<Queue<U>>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) file: JournalFile,
    /// The sequence of the next frame.
    pub(crate) sequence: u64,
    pub(crate) hooks: Box<dyn Hooks<U>>,
    pub(crate) preallocate: u64,
    pub(crate) heal_interval: Duration,
    /// Held until everything is written.
    pub(crate) _lock: Box<dyn DiskLock>,
}

impl<U: 'static> Writer<U> {
    /// Writes batches until the journal is closed.
    pub(crate) fn run(mut self) {
        // However this thread ends, callers must not wait for it forever.
        let _guard = ExitGuard(Arc::clone(&self.queue));
        if self.queue.health().is_err() && !self.heal_or_close() {
            return;
        }
        let mut spare = FrameBuffer::new();
        while let Some(mut work) = self.queue.take(spare) {
            if !self.commit(&mut work) && !self.heal_or_close() {
                return;
            }
            spare = std::mem::take(&mut work.frame);
            spare.clear();
        }
        self.file.trim();
    }

    /// Makes one attempt to start a new epoch after the last durable frame. Success shows that the
    /// disk accepts writes.
    pub(crate) fn try_heal(&mut self) -> io::Result<()> {
        let sequence = next_epoch(self.sequence);
        self.file.heal(sequence)?;
        self.sequence = sequence.saturating_add(1);
        Ok(())
    }

    /// Makes a batch durable and resolves it. Returns `false` if the disk failed.
    fn commit(&mut self, work: &mut PendingBatch<U>) -> bool {
        if work.records > 0 {
            match self.file.append(&mut work.frame, self.sequence) {
                Ok((bytes, sync)) => {
                    self.sequence = self.sequence.saturating_add(1);
                    self.queue.counters.add_batch(work.records, bytes, sync);
                    work.batch.resolve(Ok(()));
                }
                Err(error) => {
                    self.fail(&error, work);
                    return false;
                }
            }
        }
        for request in work.requests.drain(..) {
            self.process(request);
        }
        true
    }

    /// Refuses new records, lets the store undo the changes that were lost, newest first, and only
    /// then notifies the waiting requests. A client that gets the error and retries therefore never
    /// meets the reverted change.
    fn fail(&mut self, error: &io::Error, work: &mut PendingBatch<U>) {
        let refusal = unwritable(error);
        let directory = self.disk.location();
        let mut queued = self.queue.fail(&refusal);
        self.queue.counters.add_failure();
        self.queue.counters.add_lost(work.background_records() + queued.background_records());
        tracing::error!(%error, directory, records = work.records + queued.records, "could not write to the journal; registrations are refused until it heals");
        // The queued records are newer than the failed batch, so they are undone first.
        let newest_first = queued.undos.drain(..).rev().chain(work.undos.drain(..).rev()).collect();
        self.hooks.failed(newest_first);
        for failed in [work, &mut queued] {
            failed.batch.resolve(Err(refusal.clone()));
            for request in failed.requests.drain(..) {
                request.refuse(&refusal);
            }
        }
    }

    /// Retries until the disk accepts writes again. Returns `false` if the journal is closed first.
    fn heal_or_close(&mut self) -> bool {
        while self.queue.pause(self.heal_interval) {
            match self.try_heal() {
                Ok(()) => {
                    tracing::info!("the journal healed; registrations are accepted again");
                    self.queue.heal();
                    self.hooks.healed();
                    return true;
                }
                Err(error) => tracing::debug!(%error, "the journal has not healed yet"),
            }
        }
        false
    }

    fn process(&mut self, request: Request) {
        // The requester may have stopped waiting, so a failed send is ignored.
        let _ = match request {
            Request::Barrier(reply) => reply.send(Ok(self.queue.counters.failures())).is_ok(),
            Request::Rotate(reply) => reply.send(self.rotate()).is_ok(),
        };
    }

    /// The preallocation of a journal file that is written during a checkpoint. The checkpoint
    /// needs the space of a small disk more.
    fn checkpoint_preallocation(&self) -> u64 {
        const SHARE_OF_FREE: u64 = 16;
        self.disk.free().map_or(self.preallocate, |free| self.preallocate.min(free / SHARE_OF_FREE))
    }

    /// Starts the next journal file. If that fails, the current file continues, and only the
    /// checkpoint is abandoned.
    fn rotate(&mut self) -> Result<Rotation, Unavailable> {
        let generation = self.file.generation + 1;
        match JournalFile::create(&self.disk, generation, self.sequence, self.checkpoint_preallocation()) {
            // The checkpoint that follows needs the space of a small disk, so unused space of the
            // old file is released.
            Ok(file) => std::mem::replace(&mut self.file, file).trim(),
            Err(error) => {
                // Leaving the file is harmless: a start ignores it as long as it has no frames.
                if let Err(error) = self.disk.remove(&file_name::journal(generation)) {
                    tracing::debug!(%error, generation, "could not remove an unused journal file; the next start ignores it");
                }
                return Err(unwritable(&error));
            }
        }
        let counters = &self.queue.counters;
        Ok(Rotation {
            generation,
            sequence: self.sequence,
            failures: counters.failures(),
            journal_bytes: counters.journal_bytes(),
        })
    }
}

/// Why the journal refuses records, for operators. Clients see this too, so the directory appears
/// only in the log.
pub(super) fn unwritable(error: &io::Error) -> Unavailable {
    Unavailable::new(&format!("cannot write to the journal: {error}"))
}

/// Refuses all records once the thread has ended.
struct ExitGuard<U>(Arc<Queue<U>>);

impl<U> Drop for ExitGuard<U> {
    fn drop(&mut self) {
        let refusal = self.0.health().err().unwrap_or_else(Unavailable::closed);
        let mut left = self.0.fail(&refusal);
        left.batch.resolve(Err(refusal.clone()));
        for request in left.requests.drain(..) {
            request.refuse(&refusal);
        }
    }
}
