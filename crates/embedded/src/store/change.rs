//! The index held alone, those who follow told afterwards; and what they may ask.

use std::ops::{Deref, DerefMut};

use aurora_protocol::Timestamp;
use aurora_registry::{Changes, Delta, Followed, Position, Query, StoreError, Watch};
use parking_lot::RwLockWriteGuard;

use super::{EmbeddedStore, Shared};
use crate::changes::ChangeLog;
use crate::index::Index;

/// The index, held alone. Whoever watches what changed meanwhile is woken once it no longer is.
pub(super) struct Alone<'a> {
    // Fields are dropped in this order.
    index: RwLockWriteGuard<'a, Index>,
    _announcement: Announcement<'a>,
}

struct Announcement<'a>(&'a ChangeLog);

impl Shared {
    /// The index alone.
    pub(super) fn write(&self) -> Alone<'_> {
        Alone { index: self.index.write(), _announcement: Announcement(&self.changes) }
    }
}

impl Deref for Alone<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl DerefMut for Alone<'_> {
    fn deref_mut(&mut self) -> &mut Index {
        &mut self.index
    }
}

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        self.0.announce();
    }
}

impl Changes for EmbeddedStore {
    fn head(&self, now: Timestamp) -> Result<Position, StoreError> {
        self.check_open()?;
        Ok(self.read(now).changes().head())
    }

    fn delta(&self, query: &Query, after: &Position, now: Timestamp) -> Result<Followed<Delta>, StoreError> {
        self.check_open()?;
        // Leases that are over by now have ended before it is said who left.
        drop(self.read(now));
        Ok(self.shared.changes.delta(query, after))
    }

    fn watch(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Followed<Box<dyn Watch>>, StoreError> {
        self.check_open()?;
        // The index is held, so that no change is on its way that neither a watcher nor a page taken later would show.
        let index = self.read(now);
        Ok(index.changes().watch(query, after))
    }
}
