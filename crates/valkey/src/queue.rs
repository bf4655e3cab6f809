//! The queue between the store, which decides about changes, and the writer, which sends them to
//! the server in batches. The queue also records which entries of the log this process has written.

use std::collections::{HashMap, HashSet, VecDeque};

use aurora_discovery_embedded::replica::Change;
use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::StoreError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::entry::{Nonce, StreamId};
use crate::failure::unavailable;

/// The maximum number of changes in a batch. The script of a batch then blocks the server for less
/// than a millisecond.
const MAX_BATCH: usize = 128;
/// The maximum number of bytes of all records in a batch. A single change may have more.
const MAX_BATCH_BYTES: usize = 16 << 10;

/// The queue of the writer. The store adds changes while it holds the lock of the index, so they
/// are in the order in which they were decided.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Item>,
    /// The batches that this process has sent to the server, by the nonces of their entries in the
    /// log. The follower does not apply these entries, because the replica in memory has their
    /// changes already. A batch is removed when the follower has seen its entry *and* the server
    /// has acknowledged it. Either may happen first.
    sent: HashMap<Nonce, Sent>,
    closed: bool,
}

/// What has happened to a batch that was sent.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// The follower has read its entry in the log.
    seen: bool,
    /// The writer has received the reply of the script.
    acknowledged: bool,
}

/// One item of a batch.
pub(crate) enum Item {
    /// A decision that a request waits for. It may change nothing ([`Change::is_none`]).
    Change {
        change: Change,
        /// Whether the server must confirm that it is durable before the request gets a response.
        durable: bool,
        done: oneshot::Sender<Outcome>,
    },
    /// A dormant peer that the replica has evicted at `now`. The script deletes it on the server
    /// unless another process has revived it.
    Evict { peer: PeerId, now: Timestamp },
    /// A peer on the server that can't be parsed. The script deletes it if it still has this lease.
    Delete { peer: PeerId, lease: Vec<u8>, done: oneshot::Sender<Outcome> },
}

/// The result of writing a change.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The decision holds. Its change, if there is one, is written, and confirmed if it is durable.
    Done,
    /// The decision does not hold, and its change is not written, because another process has changed
    /// the peer. The log up to this entry contains that other change.
    Conflict(StreamId),
    /// The change failed. The error says whether it may have taken effect.
    Failed(StoreError),
}

impl Item {
    pub(crate) fn peer(&self) -> &PeerId {
        match self {
            Self::Change { change, .. } => &change.peer,
            Self::Evict { peer, .. } | Self::Delete { peer, .. } => peer,
        }
    }

    /// The bytes that count towards [`MAX_BATCH_BYTES`].
    fn bytes(&self) -> usize {
        match self {
            Self::Change { change, .. } => change.record.as_ref().map_or(0, |record| record.len()),
            Self::Evict { .. } | Self::Delete { .. } => 0,
        }
    }

    /// Sends the outcome to the request that waits for it, if there is one. Returns the change, so
    /// that the caller can revert it.
    pub(crate) fn finish(self, outcome: Outcome) -> Option<Change> {
        match self {
            // Sending fails if the request was cancelled. The outcome is then not needed.
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
    /// Adds a change. The returned receiver gets its outcome. `durable` says whether the server
    /// must confirm that the change is durable before the request gets a response.
    pub(crate) fn push(&self, change: Change, durable: bool) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.add(Item::Change { change, durable, done });
        outcome
    }

    /// Adds the deletion of a dormant peer that the replica has evicted at `now`.
    pub(crate) fn evict(&self, peer: PeerId, now: Timestamp) {
        self.add(Item::Evict { peer, now });
    }

    /// Adds the deletion of a peer that can't be parsed, with its lease as stored.
    pub(crate) fn delete(&self, peer: PeerId, lease: Vec<u8>) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.add(Item::Delete { peer, lease, done });
        outcome
    }

    fn add(&self, item: Item) {
        // When the queue is closed, the item is dropped, and with it the sender of its outcome. The
        // request then fails, because the store is closed.
        let mut state = self.state.lock();
        if !state.closed {
            state.waiting.push_back(item);
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Waits until the queue has an item.
    pub(crate) async fn filled(&self) {
        while self.state.lock().waiting.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Takes the items of the next batch, and records the batch as sent under this nonce.
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

    /// Takes the waiting items of these peers. Both these and the others keep their order.
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

    /// Marks a batch as seen in the log. Returns whether this process has sent it, so that its
    /// replica has the changes already.
    pub(crate) fn mark_seen(&self, nonce: Nonce) -> bool {
        let mut state = self.state.lock();
        let Some(sent) = state.sent.get_mut(&nonce) else { return false };
        sent.seen = true;
        if sent.acknowledged {
            state.sent.remove(&nonce);
        }
        true
    }

    /// Marks a batch as acknowledged: the script has written at least one of its changes.
    pub(crate) fn acknowledge(&self, nonce: Nonce) {
        let mut state = self.state.lock();
        let Some(sent) = state.sent.get_mut(&nonce) else { return };
        sent.acknowledged = true;
        if sent.seen {
            state.sent.remove(&nonce);
        }
    }

    /// The batches that the server has acknowledged, and that the follower has not seen yet.
    pub(crate) fn unseen(&self) -> Vec<Nonce> {
        let state = self.state.lock();
        state.sent.iter().filter(|(_, sent)| sent.acknowledged).map(|(nonce, _)| *nonce).collect()
    }

    /// Whether the follower has still not seen one of these batches.
    pub(crate) fn lacks_any(&self, unseen: &[Nonce]) -> bool {
        let state = self.state.lock();
        unseen.iter().any(|nonce| state.sent.contains_key(nonce))
    }

    /// Forgets a batch that had no effect, or whose effect is unknown. If its entry appears in the
    /// log later, the follower applies it like an entry of another process. Returns whether the
    /// follower has seen the entry already.
    pub(crate) fn forget(&self, nonce: Nonce) -> bool {
        self.state.lock().sent.remove(&nonce).is_some_and(|sent| sent.seen)
    }

    /// Forgets all batches. The follower then applies all entries of the log.
    pub(crate) fn forget_all(&self) {
        self.state.lock().sent.clear();
    }

    /// Closes the queue: all waiting items fail, and so does each one that is added later.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for item in std::mem::take(&mut state.waiting) {
            item.finish(Outcome::Failed(unavailable("the store is closed")));
        }
    }
}
