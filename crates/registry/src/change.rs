//! Following changes: the contract of a store's change log, and the registry's use of it.

use std::task::{Context, Poll};

use aurora_discovery_protocol::{Archetype, ChangeKind, ChangesRequest, PeerId, PeerList, Timestamp};

use crate::{Cursor, Error, Position, Query, Registry, StoreError};

/// A store's change log: a bounded list of recent changes. Not every store has one.
///
/// # What counts as a change
/// A change occurs when a live peer starts or stops matching a query, or when it registers again
/// with different content while it matches. Renewing a lease and registering again with the same
/// content are not changes.
///
/// Changes are recorded in the order in which they took effect, each with the peer as it was listed
/// at that moment. A change is in the log by the time [`crate::Store::sample`] shows its effect.
///
/// A store may merge all changes that one peer makes within a second into the last of them. A
/// client may have read some of these changes before they were merged. It may then get `joined` for
/// a peer that it already knows, or `left` for a peer that it does not know.
///
/// # Positions
/// A position is a point between two changes of one run of the store. A client that takes
/// [`Changes::head`], enumerates the peers, and then reads the changes after that position misses
/// no change. A position has expired if it is from another run, or if changes after it are no
/// longer in the log.
pub trait Changes: Send + Sync {
    /// The position after all changes so far.
    ///
    /// # Errors
    /// The store's failure.
    fn head(&self, now: Timestamp) -> Result<Position, StoreError>;

    /// The net changes from the position `after` to the position `next` of the result, limited to
    /// the archetypes of the query. Each peer is reported at most once, as it was listed at `next`.
    ///
    /// # Errors
    /// The store's failure.
    fn delta(
        &self,
        query: &Query,
        after: &Position,
        now: Timestamp,
    ) -> Result<PositionLookup<Delta>, StoreError>;

    /// Watches the changes after the position `after`. Without a position, it watches the changes
    /// from now on. The query's `limit` and `page_bytes` are ignored.
    ///
    /// # Errors
    /// The store's failure.
    fn watch(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<PositionLookup<Box<dyn Watch>>, StoreError>;
}

/// The result of looking up a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PositionLookup<T> {
    /// The log contains all changes after the position.
    Known(T),
    /// The position was valid once, but it is from another run of the store, or changes after it
    /// are no longer in the log.
    Expired,
    /// The position is not from this store.
    Foreign,
}

/// The net changes between two positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Peers that did not match at the first position and match at the second.
    pub joined: PeerList,
    /// Peers that matched at both positions and have different content.
    pub changed: PeerList,
    /// Peers that matched at the first position or later and do not match at the second.
    pub left: Vec<PeerId>,
    /// The second position.
    pub next: Position,
    /// Whether the log contains more changes after the second position. Even if it does, the lists
    /// may be empty, because changes that do not match the query are skipped.
    pub more: bool,
}

/// A watcher. It holds a position and no queue, so that its memory does not depend on how far it
/// lags behind.
pub trait Watch: Send {
    /// The position after the changes that it has read.
    fn position(&self) -> Position;

    /// Reads the changes since the last call, in order and up to about `max_bytes`. The result is
    /// empty if no change matches the query.
    fn read(&mut self, max_bytes: usize) -> WatchRead<LoggedChange>;

    /// Ready when [`Watch::read`] may return a change. Changes that do not match do not wake the
    /// watcher.
    fn poll_changes(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// The result of reading changes as a watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchRead<T> {
    /// The changes since the last call.
    Changes {
        /// The changes, in order.
        changes: Vec<T>,
        /// Whether more changes are available.
        more: bool,
    },
    /// Changes were dropped from the log before the watcher read them. The watcher continues from
    /// now.
    Lagged,
}

/// One change, as a watcher reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedChange {
    /// What the change means to this watcher.
    pub kind: ChangeKind,
    /// One JSON object: the peer as it was listed after the change, or the id of a peer that no
    /// longer matches.
    pub json: Vec<u8>,
    /// The position after the change.
    pub position: Position,
}

/// The response to a request for changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesPage {
    /// Peers that did not match at the cursor and match now.
    pub joined: PeerList,
    /// Peers that matched at the cursor and match now with different content.
    pub changed: PeerList,
    /// Peers that matched at the cursor or later and do not match now.
    pub left: Vec<PeerId>,
    /// The cursor for the next request.
    pub since: String,
    /// Whether more changes are already available after the cursor `since`.
    pub more: bool,
}

/// A watcher that uses cursors instead of positions.
pub struct Watcher {
    watch: Box<dyn Watch>,
    archetypes: Vec<Archetype>,
    reset: bool,
}

/// One change, with the cursor after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What the change means to this watcher.
    pub kind: ChangeKind,
    /// One JSON object: the peer as it was listed after the change, or the id of a peer that no
    /// longer matches.
    pub json: Vec<u8>,
    /// The cursor after the change.
    pub cursor: String,
}

impl Registry {
    /// The changes since a cursor, or the current cursor if the request has none.
    ///
    /// # Errors
    /// [`Error::NoChangeLog`] if the store has no change log, [`Error::InvalidSince`],
    /// [`Error::SinceExpired`], or the store's failure.
    pub fn changes(&self, request: ChangesRequest, now: Timestamp) -> Result<ChangesPage, Error> {
        let log = self.change_log()?;
        let (query, since) = self.changes_query(request);
        let Some(since) = since else {
            let since = Cursor::encode(&log.head(now)?, &query.archetypes);
            let (joined, changed) = (PeerList::default(), PeerList::default());
            return Ok(ChangesPage { joined, changed, left: Vec::new(), since, more: false });
        };
        let after = Cursor::decode(&since, &query.archetypes).ok_or(Error::InvalidSince)?;
        match log.delta(&query, &after, now)? {
            PositionLookup::Known(Delta { joined, changed, left, next, more }) => {
                let since = Cursor::encode(&next, &query.archetypes);
                Ok(ChangesPage { joined, changed, left, since, more })
            }
            PositionLookup::Expired => Err(Error::SinceExpired),
            PositionLookup::Foreign => Err(Error::InvalidSince),
        }
    }

    /// Watches the changes after a cursor. Without a cursor, it watches the changes from now on. An
    /// expired cursor is not an error: the watch then starts now, and [`Watcher::was_reset`]
    /// returns `true`.
    ///
    /// # Errors
    /// [`Error::NoChangeLog`] if the store has no change log, [`Error::InvalidSince`], or the
    /// store's failure.
    pub fn watch(&self, request: ChangesRequest, now: Timestamp) -> Result<Watcher, Error> {
        let log = self.change_log()?;
        let (query, since) = self.changes_query(request);
        let decode = |since: String| Cursor::decode(&since, &query.archetypes).ok_or(Error::InvalidSince);
        let after = since.map(decode).transpose()?;
        let (watch, reset) = match log.watch(&query, after.as_ref(), now)? {
            PositionLookup::Known(watch) => (watch, false),
            PositionLookup::Foreign => return Err(Error::InvalidSince),
            PositionLookup::Expired => match log.watch(&query, None, now)? {
                PositionLookup::Known(watch) => (watch, true),
                PositionLookup::Expired | PositionLookup::Foreign => return Err(Error::SinceExpired),
            },
        };
        Ok(Watcher { watch, archetypes: query.archetypes, reset })
    }

    fn change_log(&self) -> Result<&dyn Changes, Error> {
        self.store().changes().ok_or(Error::NoChangeLog)
    }

    fn changes_query(&self, request: ChangesRequest) -> (Query, Option<String>) {
        let ChangesRequest { archetypes, limit, exclude, view, since } = request;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        (
            Query {
                archetypes,
                exclude,
                view,
                limit,
                page_bytes: self.limits().page_bytes,
                diverse: false,
                fill: false,
            },
            since,
        )
    }
}

impl Watcher {
    /// Whether the watch started now although the request had a cursor, because the cursor had
    /// expired.
    pub fn was_reset(&self) -> bool {
        self.reset
    }

    /// The cursor after all changes that have been read.
    pub fn cursor(&self) -> String {
        Cursor::encode(&self.watch.position(), &self.archetypes)
    }

    /// Reads the changes since the last call; see [`Watch::read`].
    pub fn read(&mut self, max_bytes: usize) -> WatchRead<WatchEvent> {
        match self.watch.read(max_bytes) {
            WatchRead::Lagged => WatchRead::Lagged,
            WatchRead::Changes { changes, more } => {
                let event = |LoggedChange { kind, json, position }| {
                    let cursor = Cursor::encode(&position, &self.archetypes);
                    WatchEvent { kind, json, cursor }
                };
                WatchRead::Changes { changes: changes.into_iter().map(event).collect(), more }
            }
        }
    }

    /// Ready when [`Watcher::read`] may return a change; see [`Watch::poll_changes`].
    pub fn poll_changes(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_changes(context)
    }
}
