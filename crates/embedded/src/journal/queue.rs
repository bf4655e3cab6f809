//! What callers and the journal's thread share: the batch that is filling, and whether the disk can be relied on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::batch::{Batch, Commit, Unavailable};
use super::figures::Counters;
use super::format::FrameBuffer;

/// The filling batch, under one short lock.
pub(crate) struct Queue<U> {
    state: Mutex<State<U>>,
    work: Condvar,
    failing: AtomicBool,
    pub(crate) counters: Counters,
}

struct State<U> {
    pending: Pending<U>,
    /// Why nothing is taken while the journal fails, and after it has ended.
    refusal: Option<Unavailable>,
    closing: bool,
    /// The thread sleeps and must be woken.
    idle: bool,
}

/// One batch on its way, and what was asked of the thread behind it.
pub(crate) struct Pending<U> {
    pub(crate) frame: FrameBuffer,
    pub(crate) undos: Vec<U>,
    pub(crate) records: u64,
    pub(crate) batch: Arc<Batch>,
    pub(crate) requests: Vec<Request>,
}

/// Something that the thread does between two batches, when everything appended before is durable.
pub(crate) enum Request {
    /// Answer how many failures there were.
    Barrier(SyncSender<Result<u64, Unavailable>>),
    /// Begin the next journal file.
    Rotate(SyncSender<Result<Rotation, Unavailable>>),
}

/// A new journal file receives everything from here on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    pub(crate) generation: u64,
    pub(crate) sequence: u64,
    pub(crate) failures: u64,
    pub(crate) journal_bytes: u64,
}

impl Request {
    pub(crate) fn refuse(self, refusal: &Unavailable) {
        // Whoever asked may have gone, and then needs no answer.
        let _ = match self {
            Self::Barrier(answer) => answer.send(Err(refusal.clone())).is_ok(),
            Self::Rotate(answer) => answer.send(Err(refusal.clone())).is_ok(),
        };
    }
}

impl<U> Pending<U> {
    fn new(frame: FrameBuffer) -> Self {
        Self { frame, undos: Vec::new(), records: 0, batch: Arc::default(), requests: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.records == 0 && self.requests.is_empty()
    }

    /// How many of its records nobody can undo.
    pub(crate) fn unwaited(&self) -> u64 {
        self.records - self.undos.len() as u64
    }
}

impl<U> State<U> {
    /// Why nothing is taken now, if so.
    fn refusal(&self) -> Option<Unavailable> {
        self.refusal.clone().or_else(|| self.closing.then(Unavailable::closed))
    }
}

/// Nobody waits forever, even if a hook of the store panicked.
impl<U> Drop for Pending<U> {
    fn drop(&mut self) {
        self.batch.settle(Err(Unavailable::closed()));
    }
}

impl<U> Queue<U> {
    pub(crate) fn new(counters: Counters) -> Self {
        let state =
            State { pending: Pending::new(FrameBuffer::new()), refusal: None, closing: false, idle: false };
        Self { state: Mutex::new(state), work: Condvar::new(), failing: AtomicBool::new(false), counters }
    }

    pub(crate) fn append(&self, record: &[u8], undo: Option<U>) -> Result<Commit, Unavailable> {
        let mut state = self.state.lock();
        let mut refusal = state.refusal();
        if refusal.is_none() && !state.pending.frame.push(record) {
            refusal = Some(Unavailable::new("the disk is too far behind the registrations that wait for it"));
        }
        if let Some(refusal) = refusal {
            self.counters.lost(u64::from(undo.is_none()));
            return Err(refusal);
        }
        state.pending.undos.extend(undo);
        state.pending.records += 1;
        let commit = state.pending.batch.commit();
        self.wake(state);
        Ok(commit)
    }

    /// Asks the thread for something and waits for the answer.
    pub(crate) fn ask<T>(
        &self,
        request: impl FnOnce(SyncSender<Result<T, Unavailable>>) -> Request,
    ) -> Result<T, Unavailable> {
        let (answer, asked) = sync_channel(1);
        self.request(request(answer));
        asked.recv().unwrap_or_else(|_| Err(Unavailable::closed()))
    }

    fn request(&self, request: Request) {
        let mut state = self.state.lock();
        if let Some(refusal) = state.refusal() {
            drop(state);
            return request.refuse(&refusal);
        }
        state.pending.requests.push(request);
        self.wake(state);
    }

    /// Refuses everything from here on; what was appended is still written.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        self.wake(state);
    }

    pub(crate) fn health(&self) -> Result<(), Unavailable> {
        if !self.failing.load(Ordering::Acquire) {
            return Ok(());
        }
        self.state.lock().refusal.clone().map_or(Ok(()), Err)
    }

    /// Takes what is pending, waiting for it; `None` when closing and nothing is left. `spare` replaces it.
    pub(crate) fn take(&self, spare: FrameBuffer) -> Option<Pending<U>> {
        let mut state = self.state.lock();
        while state.pending.is_empty() {
            if state.closing {
                return None;
            }
            state.idle = true;
            self.work.wait(&mut state);
        }
        Some(std::mem::replace(&mut state.pending, Pending::new(spare)))
    }

    /// Refuses everything from here on and takes what was queued.
    pub(crate) fn fail(&self, refusal: &Unavailable) -> Pending<U> {
        let mut state = self.state.lock();
        state.refusal = Some(refusal.clone());
        self.failing.store(true, Ordering::Release);
        std::mem::replace(&mut state.pending, Pending::new(FrameBuffer::new()))
    }

    /// Takes records again.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock();
        state.refusal = None;
        self.failing.store(false, Ordering::Release);
    }

    /// Waits until it is time for the next attempt; `false` when closing.
    pub(crate) fn pause(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.closing {
            state.idle = true;
            self.work.wait_for(&mut state, interval);
        }
        !state.closing
    }

    fn wake(&self, mut state: parking_lot::MutexGuard<'_, State<U>>) {
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.work.notify_one();
        }
    }
}
