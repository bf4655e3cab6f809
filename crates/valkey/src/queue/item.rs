//! The items of a batch, and the outcomes that the requests of the items get.

use aurora_discovery_embedded::replica::{Change, LeaseState};
use aurora_discovery_protocol::PeerId;
use aurora_discovery_registry::StoreError;
use tokio::sync::oneshot;

use crate::entry::StreamId;

/// One item of a batch.
pub(crate) enum Item {
    /// A decision that a request waits for. It may change nothing ([`Change::is_none`]).
    Change {
        change: Change,
        /// Whether the server must confirm that it is durable before the request gets a response.
        durable: bool,
        number: u64,
        done: oneshot::Sender<Outcome>,
    },
    /// A dormant peer that the replica has evicted. The script deletes it on the server if it still
    /// has this lease.
    Evict { peer: PeerId, lease: LeaseState, number: u64 },
    /// A peer on the server that can't be parsed. The script deletes it if it still has this lease.
    Delete { peer: PeerId, lease: Vec<u8>, number: u64, done: oneshot::Sender<Outcome> },
}

/// The result of writing a change.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The decision holds. Its change, if there is one, is written. If the change must be durable,
    /// it is also confirmed as the options require.
    Done,
    /// The decision does not hold, and its change is not written, because another process has changed
    /// the peer. The log up to this entry contains that other change.
    Conflict(StreamId),
    /// The change failed. If it may have taken effect nevertheless, the error says so.
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
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Change { change, .. } => change.record.as_ref().map_or(0, |record| record.len()),
            Self::Evict { .. } | Self::Delete { .. } => 0,
        }
    }

    /// The number that the item got when it was added.
    pub(super) fn number(&self) -> u64 {
        let (Self::Change { number, .. } | Self::Evict { number, .. } | Self::Delete { number, .. }) = self;
        *number
    }

    /// Whether this is a decision that changes nothing and whose request was cancelled. Such an
    /// item need not be sent.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self, Self::Change { change, done, .. } if change.is_none() && done.is_closed())
    }

    /// Sends the outcome to the request that waits for it, if there is one. If the item is a
    /// decision, returns it with its number.
    pub(crate) fn finish(self, outcome: Outcome) -> Option<(u64, Change)> {
        match self {
            // Sending fails if the request was cancelled, which makes no difference here.
            Self::Change { change, number, done, .. } => {
                drop(done.send(outcome));
                Some((number, change))
            }
            Self::Delete { done, .. } => {
                drop(done.send(outcome));
                None
            }
            Self::Evict { .. } => None,
        }
    }

    /// Whether the script writes something for the item, if its condition holds.
    pub(crate) fn is_written(&self) -> bool {
        !matches!(self, Self::Change { change, .. } if change.is_none())
    }

    /// Whether the server must confirm that the item is durable before it is finished.
    pub(crate) fn must_be_durable(&self) -> bool {
        matches!(self, Self::Change { durable: true, .. })
    }
}
