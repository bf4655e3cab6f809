//! The wake-up signal of one watcher.

use std::task::Waker;

use parking_lot::Mutex;

/// Wakes its watcher at most once per wait. A watcher that is not waiting is not woken.
#[derive(Default)]
pub(super) struct WakeSignal(Mutex<State>);

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    /// The offset of the first change that concerned the watcher since it last armed the signal.
    first_change: Option<u64>,
}

impl WakeSignal {
    /// Records that the change at `offset` concerns the watcher. The caller holds the lock of the
    /// log, so the earliest of several changes is recorded, whichever thread wakes the watcher
    /// first.
    pub(super) fn record(&self, offset: u64) {
        self.0.lock().first_change.get_or_insert(offset);
    }

    /// Wakes the watcher, and returns whether it was waiting. Must not be called while the log is
    /// locked, because a waker may run any code.
    pub(super) fn wake(&self) -> bool {
        let waker = self.0.lock().waker.take();
        let woken = waker.is_some();
        if let Some(waker) = waker {
            waker.wake();
        }
        woken
    }

    /// Arms the signal: the next [`WakeSignal::wake`] wakes `waker`. Returns the previous waker,
    /// which the caller drops after releasing its locks, because dropping it may run any code.
    pub(super) fn arm(&self, waker: &Waker) -> Option<Waker> {
        let mut state = self.0.lock();
        state.first_change = None;
        match &state.waker {
            Some(same) if same.will_wake(waker) => None,
            _ => state.waker.replace(waker.clone()),
        }
    }

    /// The offset of the first change that has concerned the watcher since it armed the signal, or
    /// `None` if there was none.
    pub(super) fn first_change(&self) -> Option<u64> {
        self.0.lock().first_change
    }
}
