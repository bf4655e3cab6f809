//! The queue between callers and the journal's thread: group commit.
//!
//! Callers append to one pending batch under a short lock and then wait for the batch. The
//! journal's thread takes the whole batch, writes it as one frame, syncs once and resolves every
//! waiting [`Commit`]. While that sync runs, new records gather in the next batch. So the more
//! callers there are, the more of them share a sync, without any timer, and a single caller waits
//! for its own sync only.
//!
//! Each step preserves the order of records. Records enter the frame in the order in which the lock
//! is acquired. The store calls [`Queue::append`] while it holds the lock of the index, so this is
//! also the order of the changes. There is one pending batch and one thread that takes it, so
//! batches are written in the order in which they filled. The thread takes the next batch only
//! after the sync of the previous one, so a frame on the disk implies that all frames before it are
//! durable.
//!
//! A failure keeps that order too. [`Queue::fail`] refuses new records and takes the pending batch
//! in one critical section. Before records are accepted again, the changes of the failed batch and
//! of the pending one are undone, and the journal has healed. No acknowledged change therefore
//! depends on a reverted one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::batch::{Batch, Commit, Unavailable};
use super::figures::Counters;
use super::format::FrameBuffer;

/// The pending batch and the state of the journal, under one lock that is held only briefly.
pub(crate) struct Queue<U> {
    state: Mutex<State<U>>,
    work: Condvar,
    failing: AtomicBool,
    pub(crate) counters: Counters,
}

struct State<U> {
    pending: PendingBatch<U>,
    /// Why the journal refuses records: set while it fails, and after it has ended.
    refusal: Option<Unavailable>,
    closing: bool,
    /// Whether the thread sleeps and must be woken.
    idle: bool,
}

/// A batch on its way to the disk, and the requests to process after it.
pub(crate) struct PendingBatch<U> {
    pub(crate) frame: FrameBuffer,
    pub(crate) undos: Vec<U>,
    pub(crate) records: u64,
    pub(crate) batch: Arc<Batch>,
    pub(crate) requests: Vec<Request>,
}

/// A request to the thread. The thread processes it between two batches, when all records appended
/// before it are durable.
pub(crate) enum Request {
    /// Return the number of failures so far.
    Barrier(SyncSender<Result<u64, Unavailable>>),
    /// Start the next journal file.
    Rotate(SyncSender<Result<Rotation, Unavailable>>),
}

/// The result of a rotation: all records from here on go to a new journal file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) failures: u64,
    pub(crate) journal_bytes: u64,
}

impl Request {
    pub(crate) fn refuse(self, refusal: &Unavailable) {
        // The requester may have stopped waiting, so a failed send is ignored.
        let _ = match self {
            Self::Barrier(reply) => reply.send(Err(refusal.clone())).is_ok(),
            Self::Rotate(reply) => reply.send(Err(refusal.clone())).is_ok(),
        };
    }
}

impl<U> PendingBatch<U> {
    fn new(frame: FrameBuffer) -> Self {
        Self { frame, undos: Vec::new(), records: 0, batch: Arc::default(), requests: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.records == 0 && self.requests.is_empty()
    }

    /// The number of its background records: no request waits for them, and they cannot be undone.
    pub(crate) fn background_records(&self) -> u64 {
        self.records - self.undos.len() as u64
    }
}

impl<U> State<U> {
    /// Why records are refused now, or `None`.
    fn refusal(&self) -> Option<Unavailable> {
        self.refusal.clone().or_else(|| self.closing.then(Unavailable::closed))
    }
}

/// Resolves the waiting commits with an error if the batch was not resolved, for example because a
/// hook of the store panicked. Resolving it a second time has no effect.
impl<U> Drop for PendingBatch<U> {
    fn drop(&mut self) {
        self.batch.resolve(Err(Unavailable::closed()));
    }
}

impl<U> Queue<U> {
    pub(crate) fn new(counters: Counters) -> Self {
        let state = State {
            pending: PendingBatch::new(FrameBuffer::new()),
            refusal: None,
            closing: false,
            idle: false,
        };
        Self { state: Mutex::new(state), work: Condvar::new(), failing: AtomicBool::new(false), counters }
    }

    pub(crate) fn append(&self, record: &[u8], undo: Option<U>) -> Result<Commit, Unavailable> {
        let mut state = self.state.lock();
        // The check and the append are one critical section: once `fail` has set a refusal, no
        // record enters a batch.
        let mut refusal = state.refusal();
        if refusal.is_none() && !state.pending.frame.push(record) {
            refusal = Some(Unavailable::new("too many registrations are waiting for a slow disk"));
        }
        if let Some(refusal) = refusal {
            self.counters.add_lost(u64::from(undo.is_none()));
            return Err(refusal);
        }
        state.pending.undos.extend(undo);
        state.pending.records += 1;
        // The commit belongs to the batch, not to the record: all callers of the batch wait for the
        // same outcome.
        let commit = state.pending.batch.commit();
        self.wake(state);
        Ok(commit)
    }

    /// Sends a request to the thread and waits for the response.
    pub(crate) fn request<T>(
        &self,
        request: impl FnOnce(SyncSender<Result<T, Unavailable>>) -> Request,
    ) -> Result<T, Unavailable> {
        let (reply, response) = sync_channel(1);
        self.enqueue(request(reply));
        response.recv().unwrap_or_else(|_| Err(Unavailable::closed()))
    }

    fn enqueue(&self, request: Request) {
        let mut state = self.state.lock();
        if let Some(refusal) = state.refusal() {
            drop(state);
            return request.refuse(&refusal);
        }
        // The request joins the pending batch, so it is processed after all records appended so
        // far.
        state.pending.requests.push(request);
        self.wake(state);
    }

    /// Refuses new records. Records that were appended before are still written.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        self.wake(state);
    }

    pub(crate) fn health(&self) -> Result<(), Unavailable> {
        // Every registration calls this, so the flag is checked first. While the journal is
        // healthy, the lock is not needed.
        if !self.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        self.state.lock().refusal.clone().map_or(Ok(()), Err)
    }

    /// Takes the pending batch. Waits up to `max_idle` for one, and returns an empty one after
    /// that. Returns `None` when the journal closes and nothing is left. `spare` becomes the buffer
    /// of the next batch.
    pub(crate) fn take(&self, spare: FrameBuffer, max_idle: Duration) -> Option<PendingBatch<U>> {
        let mut state = self.state.lock();
        let until = Instant::now() + max_idle;
        while state.pending.is_empty() {
            if state.closing {
                return None;
            }
            state.idle = true;
            if self.work.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        Some(std::mem::replace(&mut state.pending, PendingBatch::new(spare)))
    }

    /// Refuses new records and takes those that were queued, which must be undone together with the
    /// failed batch.
    pub(crate) fn fail(&self, refusal: &Unavailable) -> PendingBatch<U> {
        let mut state = self.state.lock();
        state.refusal = Some(refusal.clone());
        self.failing.store(true, Ordering::Release);
        std::mem::replace(&mut state.pending, PendingBatch::new(FrameBuffer::new()))
    }

    /// Accepts records again.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock();
        state.refusal = None;
        self.failing.store(false, Ordering::Release);
    }

    /// Waits until the next attempt to heal is due. Returns `false` if the journal closes.
    pub(crate) fn pause(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.closing {
            state.idle = true;
            self.work.wait_for(&mut state, interval);
        }
        !state.closing
    }

    // Wakes the thread if it sleeps. While the thread works, it finds the new record by itself when
    // it takes the next batch, so most appends skip the system call. The lock is released first, so
    // that the woken thread does not block on it at once.
    fn wake(&self, mut state: parking_lot::MutexGuard<'_, State<U>>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }
}
