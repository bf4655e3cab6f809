//! The requests that wait for messages, by receiver.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aurora_discovery_protocol::PeerId;
use aurora_discovery_registry::MailSignal;
use parking_lot::Mutex;

/// The signals of the requests that wait, by receiver.
type Signals = Mutex<HashMap<PeerId, Vec<Arc<Signal>>>>;

/// All requests that wait. A receiver has an entry as long as a request waits for its messages.
#[derive(Default)]
pub(crate) struct Waiters {
    signals: Arc<Signals>,
}

/// The signal of one request, which waits for messages to one receiver. Dropping it ends the wait.
pub(crate) struct Waiter {
    peer: PeerId,
    signal: Arc<Signal>,
    signals: Arc<Signals>,
}

#[derive(Default)]
struct Signal(Mutex<SignalState>);

#[derive(Default)]
struct SignalState {
    has_arrived: bool,
    waker: Option<Waker>,
}

impl Waiters {
    /// Adds a request that waits for messages to `peer`.
    pub(crate) fn add(&self, peer: &PeerId) -> Waiter {
        let signal = Arc::<Signal>::default();
        self.signals.lock().entry(peer.clone()).or_default().push(signal.clone());
        Waiter { peer: peer.clone(), signal, signals: self.signals.clone() }
    }

    /// Wakes all requests that wait for messages to `peer`.
    pub(crate) fn wake(&self, peer: &PeerId) {
        let signals = self.signals.lock().get(peer).cloned().unwrap_or_default();
        // No lock is held while a waker runs, because a waker may run any code.
        for signal in signals {
            let waker = {
                let mut state = signal.0.lock();
                state.has_arrived = true;
                state.waker.take()
            };
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl MailSignal for Waiter {
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.signal.0.lock();
        if std::mem::take(&mut state.has_arrived) {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut signals = self.signals.lock();
        if let Entry::Occupied(mut of_peer) = signals.entry(self.peer.clone()) {
            of_peer.get_mut().retain(|signal| !Arc::ptr_eq(signal, &self.signal));
            if of_peer.get().is_empty() {
                of_peer.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::parse(name).unwrap()
    }

    fn is_ready(waiter: &mut Waiter) -> bool {
        waiter.poll_arrival(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_waiter_is_ready_once_for_each_arrival_at_its_own_peer() {
        let waiters = Waiters::default();
        let [mut one, mut two] = [(); 2].map(|()| waiters.add(&peer("a")));
        let mut other = waiters.add(&peer("b"));
        assert!(!is_ready(&mut one));
        waiters.wake(&peer("a"));
        waiters.wake(&peer("a"));
        for waiter in [&mut one, &mut two] {
            assert!(is_ready(waiter) && !is_ready(waiter));
        }
        assert!(!is_ready(&mut other));
    }

    #[test]
    fn an_arrival_wakes_the_task_that_polled() {
        let waiters = Waiters::default();
        let mut waiter = waiters.add(&peer("a"));
        let woken = Arc::new(CountingWaker::default());
        assert!(waiter.poll_arrival(&mut Context::from_waker(&woken.clone().into())).is_pending());
        waiters.wake(&peer("a"));
        assert_eq!(woken.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    }

    #[test]
    fn no_peer_has_an_entry_when_its_waiters_are_dropped() {
        let waiters = Waiters::default();
        let (one, two) = (waiters.add(&peer("a")), waiters.add(&peer("a")));
        drop(one);
        assert_eq!(waiters.signals.lock()[&peer("a")].len(), 1);
        drop(two);
        assert!(waiters.signals.lock().is_empty());
        waiters.wake(&peer("a"));
    }

    #[derive(Default)]
    struct CountingWaker(std::sync::atomic::AtomicU32);

    impl std::task::Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}
