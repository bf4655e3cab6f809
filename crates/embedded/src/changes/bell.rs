//! What one watcher is woken by.

use std::task::Waker;

use parking_lot::Mutex;

/// Wakes a watcher that waits, once: one that does something else, or nothing at all, is left alone.
#[derive(Default)]
pub(super) struct Bell(Mutex<State>);

#[derive(Default)]
struct State {
    waker: Option<Waker>,
    /// How many changes there were before the first that it rang for, since it was hung up.
    rung_behind: Option<u64>,
}

impl Bell {
    /// Notes that it rings for the change behind the first `count`. The log must be held, so that of two changes the first is noted
    /// first, whoever comes to ring first.
    pub(super) fn note(&self, count: u64) {
        self.0.lock().rung_behind.get_or_insert(count);
    }

    /// Rings for what was noted; answers whether somebody was woken by it. Not while the log is held: a waker is foreign code.
    pub(super) fn ring(&self) -> bool {
        let waker = self.0.lock().waker.take();
        let woken = waker.is_some();
        if let Some(waker) = waker {
            waker.wake();
        }
        woken
    }

    /// Hangs it up: it wakes with `waker` when it rings. Answers the waker that it had, to be dropped where nothing is held.
    pub(super) fn hang_up(&self, waker: &Waker) -> Option<Waker> {
        let mut state = self.0.lock();
        state.rung_behind = None;
        match &state.waker {
            Some(same) if same.will_wake(waker) => None,
            _ => state.waker.replace(waker.clone()),
        }
    }

    /// Up to where nothing has concerned the watcher since it was hung up, if it has rung.
    pub(super) fn rung_behind(&self) -> Option<u64> {
        self.0.lock().rung_behind
    }
}
