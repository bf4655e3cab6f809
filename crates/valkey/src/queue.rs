//! The changes that wait to be written, and those that are being written.

use std::collections::{HashMap, HashSet, VecDeque};

use aurora_discovery_embedded::replica::Change;
use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::StoreError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::entry::{Nonce, StreamId};
use crate::failure::unavailable;

/// The changes that are written together at most. One script then takes less than a millisecond.
const MAX_BATCH: usize = 128;
/// The bytes of records that are written together at most, unless one change has more.
const MAX_BATCH_BYTES: usize = 16 << 10;

/// The queue of the writer. Changes are added while the index is locked, so they are in the order in
/// which they were decided.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Item>,
    /// The batches that this process has taken for sending. The follower skips their entries in the
    /// log, because the replica in memory has their changes already. A batch leaves when the follower
    /// has seen its entry and the server has acknowledged it.
    sent: HashMap<Nonce, Sent>,
    closed: bool,
}

#[derive(Clone, Copy, Default)]
struct Sent {
    seen: bool,
    acknowledged: bool,
}

/// Something to write.
pub(crate) enum Item {
    /// A change that a request waits for.
    Change {
        change: Change,
        /// Whether it must be on disk before the request is answered.
        durable: bool,
        done: oneshot::Sender<Outcome>,
    },
    /// The replica has dropped a dormant peer, which may be deleted if it still is dormant.
    Evict { peer: PeerId, now: Timestamp },
    /// A stored peer that can't be read, with its lease as stored.
    Delete { peer: PeerId, lease: Vec<u8>, done: oneshot::Sender<Outcome> },
}

/// What became of a change.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is written, and on disk if it had to be.
    Written,
    /// Another process has changed the peer. The log up to this entry has what it is now.
    Conflict(StreamId),
    /// It failed.
    Failed(StoreError),
}

impl Item {
    pub(crate) fn peer(&self) -> &PeerId {
        match self {
            Self::Change { change, .. } => &change.peer,
            Self::Evict { peer, .. } | Self::Delete { peer, .. } => peer,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Change { change, .. } => change.record.as_ref().map_or(0, |record| record.len()),
            Self::Evict { .. } | Self::Delete { .. } => 0,
        }
    }

    /// Tells the request, if one waits. Returns the change, to be reverted.
    pub(crate) fn finish(self, outcome: Outcome) -> Option<Change> {
        match self {
            // Without a receiver, the request was given up in the meantime.
            Self::Change { change, done, .. } => {
                drop(done.send(outcome));
                Some(change)
            }
            Self::Delete { done, .. } => {
                drop(done.send(outcome));
                None
            }
            Self::Evict { .. } => None,
        }
    }
}

impl Queue {
    /// Adds a change. The receiver gets its outcome.
    pub(crate) fn push(&self, change: Change, durable: bool) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.add(Item::Change { change, durable, done });
        outcome
    }

    pub(crate) fn evict(&self, peer: PeerId, now: Timestamp) {
        self.add(Item::Evict { peer, now });
    }

    pub(crate) fn delete(&self, peer: PeerId, lease: Vec<u8>) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.add(Item::Delete { peer, lease, done });
        outcome
    }

    fn add(&self, item: Item) {
        // After the end of the writer, a change is dropped, which its request notices.
        let mut state = self.state.lock();
        if !state.closed {
            state.waiting.push_back(item);
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Waits until something is to be written.
    pub(crate) async fn filled(&self) {
        while self.state.lock().waiting.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Takes the items of the next batch.
    pub(crate) fn take_batch(&self, nonce: Nonce) -> Vec<Item> {
        let mut state = self.state.lock();
        let (mut bytes, mut batch) = (0, Vec::new());
        while let Some(item) = state.waiting.front() {
            bytes += item.bytes();
            if batch.len() == MAX_BATCH || (bytes > MAX_BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            batch.extend(state.waiting.pop_front());
        }
        state.sent.insert(nonce, Sent::default());
        batch
    }

    /// Takes the waiting items of these peers, in order.
    pub(crate) fn take_of(&self, peers: &HashSet<PeerId>) -> Vec<Item> {
        let mut state = self.state.lock();
        let (of_peers, others) =
            std::mem::take(&mut state.waiting).into_iter().partition(|item| peers.contains(item.peer()));
        state.waiting = others;
        Vec::from(of_peers)
    }

    /// Takes all waiting items, in order.
    pub(crate) fn take_all(&self) -> Vec<Item> {
        Vec::from(std::mem::take(&mut self.state.lock().waiting))
    }

    /// Whether this process has written the entry of the log, so that its replica has the changes.
    pub(crate) fn mark_seen(&self, nonce: Nonce) -> bool {
        let mut state = self.state.lock();
        let Some(sent) = state.sent.get_mut(&nonce) else { return false };
        sent.seen = true;
        if sent.acknowledged {
            state.sent.remove(&nonce);
        }
        true
    }

    /// The server has confirmed a batch.
    pub(crate) fn acknowledge(&self, nonce: Nonce) {
        let mut state = self.state.lock();
        let Some(sent) = state.sent.get_mut(&nonce) else { return };
        sent.acknowledged = true;
        if sent.seen {
            state.sent.remove(&nonce);
        }
    }

    /// The batches that the server has confirmed, and that have not come up in the log yet.
    pub(crate) fn unseen(&self) -> Vec<Nonce> {
        let state = self.state.lock();
        state.sent.iter().filter(|(_, sent)| sent.acknowledged).map(|(nonce, _)| *nonce).collect()
    }

    /// Whether one of these has still not come up.
    pub(crate) fn lacks_any(&self, unseen: &[Nonce]) -> bool {
        let state = self.state.lock();
        unseen.iter().any(|nonce| state.sent.contains_key(nonce))
    }

    /// A batch without effect, or without a known effect. If it comes up in the log later, it counts
    /// as that of another process. Returns whether it has come up already.
    pub(crate) fn forget(&self, nonce: Nonce) -> bool {
        self.state.lock().sent.remove(&nonce).is_some_and(|sent| sent.seen)
    }

    /// From now on, all entries of the log count as those of another process.
    pub(crate) fn forget_all(&self) {
        self.state.lock().sent.clear();
    }

    /// Fails everything that waits, and whatever is added from now on.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for item in std::mem::take(&mut state.waiting) {
            item.finish(Outcome::Failed(unavailable("the store is closed")));
        }
    }
}
