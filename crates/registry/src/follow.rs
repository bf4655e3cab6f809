//! Following what changes: what a store may remember of it, and how the registry tells it.

use std::task::{Context, Poll};

use aurora_protocol::{Archetype, ChangeKind, FollowRequest, PeerId, PeerList, Timestamp};

use crate::{Cursor, Error, Position, Query, Registry, StoreError};

/// A store's bounded memory of what changed. Not every store has one.
///
/// # What counts as a change
/// That a live peer begins or ceases to match a query, or registers anew with other content while it matches. A renewal is none, and
/// neither is registering the same again. A change is remembered in the order in which it took effect, with the peer as it
/// was listed at that moment; it can be read no later than the effect itself can be seen by [`crate::Store::sample`].
///
/// # Positions
/// A position stands between two changes of one run of the store. Who takes [`Changes::head`], enumerates, and then reads on from the
/// position misses nothing. A position of another run, or before what is still remembered, has expired.
pub trait Changes: Send + Sync {
    /// The position behind everything that has changed so far.
    ///
    /// # Errors
    /// The store's failure.
    fn head(&self, now: Timestamp) -> Result<Position, StoreError>;

    /// What became of the peers that changed behind `after`, those in the query's archetypes only. Each is told once, as its last
    /// change within the answer left it.
    ///
    /// # Errors
    /// The store's failure.
    fn delta(&self, query: &Query, after: &Position, now: Timestamp) -> Result<Followed<Delta>, StoreError>;

    /// Watches changes from behind `after`, or from now on. The query's `limit` and `page_bytes` have no meaning.
    ///
    /// # Errors
    /// The store's failure.
    fn watch(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Followed<Box<dyn Watch>>, StoreError>;
}

/// What a position is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed<T> {
    /// It is remembered what came behind it.
    Known(T),
    /// It was good once: what came behind it is not remembered any more.
    Expired,
    /// No position of this store.
    Foreign,
}

/// What became of peers between two positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Peers that did not match at the first and do at the second.
    pub joined: PeerList,
    /// Peers that matched all along, with other content.
    pub changed: PeerList,
    /// Peers that matched at the first or in between, and don't at the second.
    pub left: Vec<PeerId>,
    /// The second position.
    pub next: Position,
    /// Whether more changes are known behind it. The lists may be empty all the same: what does not match counts as read.
    pub more: bool,
}

/// One who watches. It holds its position and nothing of what comes behind it, so that it costs the same however far it lags.
pub trait Watch: Send {
    /// Behind what it has taken.
    fn position(&self) -> Position;

    /// Takes what came since, in order, about `max_bytes` of it at most; nothing where nothing that matches did.
    fn take(&mut self, max_bytes: usize) -> Taken<Occurrence>;

    /// Ready when [`Watch::take`] may find something. Not for changes that don't match.
    fn poll_news(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// What one who watches has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// What came since.
    Changes {
        /// In order.
        changes: Vec<T>,
        /// Whether more waits.
        more: bool,
    },
    /// What came since is not remembered any more; it goes on from now.
    Lost,
}

/// One change, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// What it is to the one who watches.
    pub kind: ChangeKind,
    /// The peer as it was listed at that moment, or who left: one JSON object.
    pub json: Vec<u8>,
    /// Behind it.
    pub position: Position,
}

/// Changes that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Peers that did not match at the cursor and do now.
    pub joined: PeerList,
    /// Peers that matched all along, with other content.
    pub changed: PeerList,
    /// Peers that matched at the cursor or since, and don't now.
    pub left: Vec<PeerId>,
    /// Where the next call goes on.
    pub since: String,
    /// Whether more changes wait there already.
    pub more: bool,
}

/// One who watches, and speaks in cursors.
pub struct Watching {
    watch: Box<dyn Watch>,
    archetypes: Vec<Archetype>,
    fresh: bool,
}

/// One change with the cursor behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it is to the one who watches.
    pub kind: ChangeKind,
    /// The peer as it was listed at that moment, or who left: one JSON object.
    pub json: Vec<u8>,
    /// Where to go on behind it.
    pub cursor: String,
}

impl Registry {
    /// What changed since a cursor, or the cursor of now.
    ///
    /// # Errors
    /// [`Error::NotRemembered`] where the store has no memory of changes, [`Error::InvalidSince`], [`Error::SinceExpired`], or the
    /// store's failure.
    pub fn changes(&self, request: FollowRequest, now: Timestamp) -> Result<Changed, Error> {
        let changes = self.remembered()?;
        let (query, since) = self.following(request);
        let Some(since) = since else {
            let since = Cursor::encode(&changes.head(now)?, &query.archetypes);
            let (joined, changed) = (PeerList::default(), PeerList::default());
            return Ok(Changed { joined, changed, left: Vec::new(), since, more: false });
        };
        let after = Cursor::decode(&since, &query.archetypes).ok_or(Error::InvalidSince)?;
        match changes.delta(&query, &after, now)? {
            Followed::Known(Delta { joined, changed, left, next, more }) => {
                let since = Cursor::encode(&next, &query.archetypes);
                Ok(Changed { joined, changed, left, since, more })
            }
            Followed::Expired => Err(Error::SinceExpired),
            Followed::Foreign => Err(Error::InvalidSince),
        }
    }

    /// Watches what changes, from a cursor or from now on. A cursor that has expired is no error: [`Watching::is_fresh`] says that it
    /// begins now.
    ///
    /// # Errors
    /// [`Error::NotRemembered`] where the store has no memory of changes, [`Error::InvalidSince`], or the store's failure.
    pub fn watch(&self, request: FollowRequest, now: Timestamp) -> Result<Watching, Error> {
        let changes = self.remembered()?;
        let (query, since) = self.following(request);
        let decode = |since: String| Cursor::decode(&since, &query.archetypes).ok_or(Error::InvalidSince);
        let after = since.map(decode).transpose()?;
        let (watch, fresh) = match changes.watch(&query, after.as_ref(), now)? {
            Followed::Known(watch) => (watch, false),
            Followed::Foreign => return Err(Error::InvalidSince),
            Followed::Expired => match changes.watch(&query, None, now)? {
                Followed::Known(watch) => (watch, true),
                Followed::Expired | Followed::Foreign => return Err(Error::SinceExpired),
            },
        };
        Ok(Watching { watch, archetypes: query.archetypes, fresh })
    }

    fn remembered(&self) -> Result<&dyn Changes, Error> {
        self.store().changes().ok_or(Error::NotRemembered)
    }

    fn following(&self, request: FollowRequest) -> (Query, Option<String>) {
        let FollowRequest { archetypes, limit, exclude, view, since } = request;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        (Query { archetypes, exclude, view, limit, page_bytes: self.limits().page_bytes, fill: false }, since)
    }
}

impl Watching {
    /// Whether it begins anew, although it was asked to go on.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Where to go on behind all that it has taken.
    pub fn cursor(&self) -> String {
        Cursor::encode(&self.watch.position(), &self.archetypes)
    }

    /// Takes what came since; see [`Watch::take`].
    pub fn take(&mut self, max_bytes: usize) -> Taken<Told> {
        match self.watch.take(max_bytes) {
            Taken::Lost => Taken::Lost,
            Taken::Changes { changes, more } => {
                let told = |Occurrence { kind, json, position }| {
                    let cursor = Cursor::encode(&position, &self.archetypes);
                    Told { kind, json, cursor }
                };
                Taken::Changes { changes: changes.into_iter().map(told).collect(), more }
            }
        }
    }

    /// Ready when [`Watching::take`] may find something; see [`Watch::poll_news`].
    pub fn poll_news(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.watch.poll_news(context)
    }
}
