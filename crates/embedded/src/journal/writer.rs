//! The journal's thread: the only one that writes to the journal.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Hooks;
use super::batch::Unavailable;
use super::file::JournalFile;
use super::format::{FrameBuffer, next_epoch};
use super::name;
use super::queue::{Pending, Queue, Request, Rotation};
use crate::disk::{Disk, DiskLock};

pub(crate) struct Writer<U> {
    pub(crate) queue: Arc<Queue<U>>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) file: JournalFile,
    /// The sequence of the next frame.
    pub(crate) sequence: u64,
    pub(crate) hooks: Box<dyn Hooks<U>>,
    pub(crate) chunk: u64,
    pub(crate) heal_interval: Duration,
    /// Held until everything is written.
    pub(crate) _lock: Box<dyn DiskLock>,
}

impl<U: 'static> Writer<U> {
    /// Writes batch after batch until the journal is closed.
    pub(crate) fn run(mut self) {
        // Whatever ends this thread, nobody may wait for it forever.
        let _end = End(Arc::clone(&self.queue));
        if self.queue.health().is_err() && !self.heal_in_time() {
            return;
        }
        let mut spare = FrameBuffer::new();
        while let Some(mut work) = self.queue.take(spare) {
            if !self.commit(&mut work) && !self.heal_in_time() {
                return;
            }
            spare = std::mem::take(&mut work.frame);
            spare.clear();
        }
        self.file.trim();
    }

    /// One attempt to begin a new epoch behind the last durable frame, which shows that the disk takes writes.
    pub(crate) fn try_heal(&mut self) -> io::Result<()> {
        let sequence = next_epoch(self.sequence);
        self.file.heal(sequence)?;
        self.sequence = sequence.saturating_add(1);
        Ok(())
    }

    /// Makes a batch durable and settles it; `false` when the disk failed.
    fn commit(&mut self, work: &mut Pending<U>) -> bool {
        if work.records > 0 {
            match self.file.append(&mut work.frame, self.sequence) {
                Ok((bytes, sync)) => {
                    self.sequence = self.sequence.saturating_add(1);
                    self.queue.counters.batch(work.records, bytes, sync);
                    work.batch.settle(Ok(()));
                }
                Err(error) => {
                    self.fail(&error, work);
                    return false;
                }
            }
        }
        for request in work.requests.drain(..) {
            self.answer(request);
        }
        true
    }

    /// Refuses everything, lets the store undo what can't be kept, newest first, and only then tells those who wait.
    fn fail(&mut self, error: &io::Error, work: &mut Pending<U>) {
        let refusal = unwritable(error);
        let directory = self.disk.location();
        let mut queued = self.queue.fail(&refusal);
        self.queue.counters.failure();
        self.queue.counters.lost(work.unwaited() + queued.unwaited());
        tracing::error!(%error, directory, records = work.records + queued.records, "the journal failed; registrations are refused");
        let newest_first = queued.undos.drain(..).rev().chain(work.undos.drain(..).rev()).collect();
        self.hooks.failed(newest_first);
        for failed in [work, &mut queued] {
            failed.batch.settle(Err(refusal.clone()));
            for request in failed.requests.drain(..) {
                request.refuse(&refusal);
            }
        }
    }

    /// Tries until the disk takes writes again; `false` when the journal was closed before.
    fn heal_in_time(&mut self) -> bool {
        while self.queue.pause(self.heal_interval) {
            match self.try_heal() {
                Ok(()) => {
                    tracing::info!("the journal healed; registrations are taken again");
                    self.queue.heal();
                    self.hooks.healed();
                    return true;
                }
                Err(error) => tracing::debug!(%error, "the journal did not heal"),
            }
        }
        false
    }

    fn answer(&mut self, request: Request) {
        // Whoever asked may have gone, and then needs no answer.
        let _ = match request {
            Request::Barrier(answer) => answer.send(Ok(self.queue.counters.failures())).is_ok(),
            Request::Rotate(answer) => answer.send(self.rotate()).is_ok(),
        };
    }

    /// What is made ready at once in a file beside which a checkpoint is written, which needs a small disk's room more.
    fn modest_chunk(&self) -> u64 {
        const SHARE_OF_FREE: u64 = 16;
        self.disk.free().map_or(self.chunk, |free| self.chunk.min(free / SHARE_OF_FREE))
    }

    /// Begins the next file. Where that fails the present one goes on, and only the checkpoint is off.
    fn rotate(&mut self) -> Result<Rotation, Unavailable> {
        let generation = self.file.generation + 1;
        match JournalFile::create(&self.disk, generation, self.sequence, self.modest_chunk()) {
            // Beside the checkpoint that follows, a small disk has no room for space that is not used.
            Ok(file) => std::mem::replace(&mut self.file, file).trim(),
            Err(error) => {
                // A start would also do without the file, as long as it has no frames.
                if let Err(error) = self.disk.remove(&name::journal(generation)) {
                    tracing::debug!(%error, generation, "the unused journal file stays until the next start");
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

/// Why the journal takes nothing, as a person needs to hear it. Strangers hear it too, so where it lies is for the log alone.
pub(super) fn unwritable(error: &io::Error) -> Unavailable {
    Unavailable::new(&format!("the journal can't be written: {error}"))
}

/// Refuses everything once the thread is gone.
struct End<U>(Arc<Queue<U>>);

impl<U> Drop for End<U> {
    fn drop(&mut self) {
        let refusal = self.0.health().err().unwrap_or_else(Unavailable::closed);
        let mut left = self.0.fail(&refusal);
        left.batch.settle(Err(refusal.clone()));
        for request in left.requests.drain(..) {
            request.refuse(&refusal);
        }
    }
}
