//! The outcome of a batch of records, which all callers that wait for one of its records share.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Why the journal did not accept a record or make it durable, or why a checkpoint was not written.
/// The reason is a sentence for the log and for `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    reason: Arc<str>,
    is_misplaced: bool,
}

impl Unavailable {
    pub(crate) fn new(reason: &str) -> Self {
        Self { reason: Arc::from(reason), is_misplaced: false }
    }

    /// The reason after a write failed. Clients see it too, so the directory appears only in the
    /// log.
    pub(crate) fn unwritable(error: &io::Error) -> Self {
        Self::new(&format!("cannot write to the journal: {error}"))
    }

    /// The reason if the next start would not find the open files.
    pub(crate) fn misplaced(reason: &str) -> Self {
        Self { is_misplaced: true, ..Self::new(reason) }
    }

    pub(crate) fn closed() -> Self {
        Self::new("the journal is closed")
    }

    /// The reason, as a sentence.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the open files are no longer those that the next start would read. No change that
    /// the store accepts now would survive that start, not even if a later checkpoint contained it.
    pub(crate) fn is_misplaced(&self) -> bool {
        self.is_misplaced
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// A record on its way to the disk. Resolves when the record is durable, or with an error when the
/// journal could not make it durable.
///
/// Dropping it ends only the wait. The record is still written.
#[must_use = "the record is not durable yet; drop it on purpose where that is meant"]
pub struct Commit {
    batch: Arc<Batch>,
    /// The index of this waiter's waker in the batch, once it has one.
    slot: Option<usize>,
}

impl Future for Commit {
    type Output = Result<(), Unavailable>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot;
        match self.batch.poll(slot, context.waker()) {
            Ok(outcome) => Poll::Ready(outcome),
            Err(slot) => {
                self.slot = Some(slot);
                Poll::Pending
            }
        }
    }
}

/// All callers that wait for the same sync share one batch. It costs one allocation and one short
/// lock, instead of a channel per caller.
#[derive(Default)]
pub(crate) struct Batch {
    outcome: OnceLock<Result<(), Unavailable>>,
    wakers: Mutex<Vec<Waker>>,
}

impl Batch {
    pub(crate) fn commit(self: &Arc<Self>) -> Commit {
        Commit { batch: Arc::clone(self), slot: None }
    }

    /// Sets the outcome once, and wakes all waiters.
    pub(crate) fn resolve(&self, outcome: Result<(), Unavailable>) {
        let wakers = {
            let mut wakers = self.wakers.lock();
            // Only the first outcome counts. The journal's thread sets it when the batch is written
            // or has failed. A second outcome can only come from dropping the batch after that.
            let _ = self.outcome.set(outcome);
            std::mem::take(&mut *wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    /// The outcome, or the slot in which the waker now waits.
    fn poll(&self, slot: Option<usize>, waker: &Waker) -> Result<Result<(), Unavailable>, usize> {
        if let Some(outcome) = self.outcome.get() {
            return Ok(outcome.clone());
        }
        let mut wakers = self.wakers.lock();
        if let Some(outcome) = self.outcome.get() {
            return Ok(outcome.clone());
        }
        match slot {
            Some(slot) => {
                wakers[slot].clone_from(waker);
                Err(slot)
            }
            None => {
                wakers.push(waker.clone());
                Err(wakers.len() - 1)
            }
        }
    }
}
