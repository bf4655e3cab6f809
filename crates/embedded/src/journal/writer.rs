//! The journal's thread, the only writer of the journal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Hooks;
use super::batch::Unavailable;
use super::file::JournalFile;
use super::file_name;
use super::format::{FrameBuffer, next_epoch};
use super::needed::NeededFiles;
use super::queue::{PendingBatch, Queue, Request, Rotation};
use crate::disk::{Disk, DiskLock};

/// How often an idle journal checks that the next start would find its files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) struct Writer<U> {
    pub(crate) queue: Arc<Queue<U>>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) file: JournalFile,
    pub(crate) needed: Arc<NeededFiles>,
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
        // When this thread ends, for any reason, the guard refuses all records, so that no caller
        // waits forever.
        let _guard = ExitGuard(Arc::clone(&self.queue));
        if self.queue.health().is_err() && !self.heal_or_close() {
            return;
        }
        let mut spare = FrameBuffer::new();
        while let Some(mut work) = self.queue.take(spare, CHECK_INTERVAL) {
            if !self.commit(&mut work) && !self.heal_or_close() {
                return;
            }
            spare = std::mem::take(&mut work.frame);
            spare.clear();
        }
        self.file.trim();
    }

    /// Makes one attempt to start a new epoch after the last durable frame. Success shows that the
    /// disk accepts writes, and that the next start would find them.
    pub(crate) fn try_heal(&mut self) -> Result<(), Unavailable> {
        self.needed.check()?;
        let sequence = next_epoch(self.sequence);
        self.file.heal(sequence).map_err(|error| Unavailable::unwritable(&error))?;
        self.sequence = sequence.saturating_add(1);
        Ok(())
    }

    /// Makes a batch durable and resolves it. Returns `false` if the disk failed.
    fn commit(&mut self, work: &mut PendingBatch<U>) -> bool {
        if let Err(refusal) = self.write(work) {
            self.fail(&refusal, work);
            return false;
        }
        work.batch.resolve(Ok(()));
        for request in work.requests.drain(..) {
            self.process(request);
        }
        true
    }

    /// Makes a batch durable, and checks that the next start would find it. For an empty batch, it
    /// only checks the files.
    fn write(&mut self, work: &mut PendingBatch<U>) -> Result<(), Unavailable> {
        if work.records == 0 {
            return self.needed.check();
        }
        let appended = self.file.append(&mut work.frame, self.sequence);
        let (bytes, sync) = appended.map_err(|error| Unavailable::unwritable(&error))?;
        self.needed.check()?;
        self.file.advance(bytes);
        self.sequence = self.sequence.saturating_add(1);
        self.queue.counters.add_batch(work.records, bytes, sync);
        Ok(())
    }

    /// Refuses new records, lets the store undo the changes that were lost, newest first, and only
    /// then notifies the waiting requests. When a client gets the error and retries, the change is
    /// therefore already reverted.
    fn fail(&mut self, refusal: &Unavailable, work: &mut PendingBatch<U>) {
        let directory = self.disk.location();
        let mut queued = self.queue.fail(refusal);
        self.queue.counters.add_failure();
        self.queue.counters.add_lost(work.background_records() + queued.background_records());
        let records = work.records + queued.records;
        tracing::error!(error = %refusal, directory, records, "registrations are refused until the journal heals");
        // The queued records are newer than the failed batch, so they are undone first.
        let newest_first = queued.undos.drain(..).rev().chain(work.undos.drain(..).rev()).collect();
        self.hooks.failed(newest_first);
        for failed in [work, &mut queued] {
            failed.batch.resolve(Err(refusal.clone()));
            for request in failed.requests.drain(..) {
                request.refuse(refusal);
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

    /// The preallocation of a journal file that is written during a checkpoint, in bytes. On a
    /// small disk it is smaller, to leave space for the checkpoint.
    fn checkpoint_preallocation(&self) -> u64 {
        const SHARE_OF_FREE: u64 = 16;
        self.disk.free().map_or(self.preallocate, |free| self.preallocate.min(free / SHARE_OF_FREE))
    }

    /// Starts the next journal file. If that fails, the current file continues, and only the
    /// checkpoint is abandoned.
    fn rotate(&mut self) -> Result<Rotation, Unavailable> {
        let generation = self.file.generation + 1;
        match self.create(generation) {
            // The checkpoint that follows needs the space of a small disk, so unused space of the
            // old file is released.
            Ok(file) => std::mem::replace(&mut self.file, file).trim(),
            Err(error) => {
                // Leaving the file is harmless: it has no frames, so a start finds nothing in it.
                for name in [file_name::unfinished_journal(generation), file_name::journal(generation)] {
                    if let Err(error) = self.disk.remove(&name) {
                        tracing::debug!(%error, name, "could not remove an unused journal file; the next start ignores it");
                    }
                }
                return Err(Unavailable::unwritable(&error));
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

    fn create(&self, generation: u64) -> io::Result<JournalFile> {
        let preallocate = self.checkpoint_preallocation();
        let file = JournalFile::create(&self.disk, generation, self.sequence, preallocate)?;
        self.needed.add_journal(generation, file.file.as_ref())?;
        Ok(file)
    }
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
