//! The wake-up signal of one watcher.

use std::task::Waker;

use parking_lot::Mutex;

/// Wakes its watcher at most once per wait. A watcher that is not waiting is not disturbed.
#[derive(Default)]
pub(super) struct Bell(Mutex<State>);

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    /// The number of changes before the first one that concerned the watcher since it last armed
    /// the bell.
    rung_behind: Option<u64>,
}

impl Bell {
    /// Records that the change after the first `count` concerns the watcher. The caller holds the
    /// lock of the log, so the earliest of several changes is recorded, whichever thread rings
    /// first.
    pub(super) fn note(&self, count: u64) {
        self.0.lock().rung_behind.get_or_insert(count);
    }

    /// Wakes the watcher, and returns whether it was waiting. Must not be called while the log is
    /// locked, because a waker is foreign code.
    pub(super) fn ring(&self) -> bool {
        let waker = self.0.lock().waker.take();
        let woken = waker.is_some();
        if let Some(waker) = waker {
            waker.wake();
        }
        woken
    }

    /// Arms the bell: the next ring wakes `waker`. Returns the previous waker, which the caller
    /// drops after releasing its locks, since dropping it may run foreign code.
    pub(super) fn hang_up(&self, waker: &Waker) -> Option<Waker> {
        let mut state = self.0.lock();
        state.rung_behind = None;
        match &state.waker {
            Some(same) if same.will_wake(waker) => None,
            _ => state.waker.replace(waker.clone()),
        }
    }

    /// The position before which no change has concerned the watcher since it armed the bell.
    /// `None` until the bell rings.
    pub(super) fn rung_behind(&self) -> Option<u64> {
        self.0.lock().rung_behind
    }
}
