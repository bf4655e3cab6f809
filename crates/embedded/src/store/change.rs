//! The guard for exclusive access to the index, which wakes watchers when it is dropped. Also the
//! change-log operations of the store.

use std::ops::{Deref, DerefMut};

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Changes, Delta, Position, PositionLookup, Query, StoreError, Watch};
use parking_lot::RwLockWriteGuard;

use super::{EmbeddedStore, Shared};
use crate::changes::ChangeLog;
use crate::index::Index;

/// The index, locked exclusively. Watchers of the changes are woken after it is unlocked.
pub(super) struct IndexWriteGuard<'a> {
    // The fields are dropped in this order, so the index is unlocked before watchers are woken.
    index: RwLockWriteGuard<'a, Index>,
    _wake: WakeOnDrop<'a>,
}

/// Wakes the watchers of the changes when it is dropped.
struct WakeOnDrop<'a>(&'a ChangeLog);

impl Shared {
    /// Locks the index exclusively.
    pub(super) fn write(&self) -> IndexWriteGuard<'_> {
        IndexWriteGuard { index: self.index.write(), _wake: WakeOnDrop(&self.changes) }
    }
}

impl Deref for IndexWriteGuard<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        &self.index
    }
}

impl DerefMut for IndexWriteGuard<'_> {
    fn deref_mut(&mut self) -> &mut Index {
        &mut self.index
    }
}

impl Drop for WakeOnDrop<'_> {
    fn drop(&mut self) {
        self.0.wake_watchers();
    }
}

impl Changes for EmbeddedStore {
    fn head(&self, now: Timestamp) -> Result<Position, StoreError> {
        self.check_open()?;
        Ok(self.read(now).changes().head())
    }

    fn delta(
        &self,
        query: &Query,
        after: &Position,
        now: Timestamp,
    ) -> Result<PositionLookup<Delta>, StoreError> {
        self.check_open()?;
        // Ends the leases that are due, so that the response includes these departures.
        drop(self.read(now));
        Ok(self.shared.changes.delta(query, after))
    }

    fn watch(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<PositionLookup<Box<dyn Watch>>, StoreError> {
        self.check_open()?;
        // The index stays locked, so that no change is in progress. Such a change could take effect
        // after the watch has begun, and still not be recorded.
        let index = self.read(now);
        Ok(index.changes().watch(query, after))
    }
}
