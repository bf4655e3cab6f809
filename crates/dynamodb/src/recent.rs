//! The recent writes of this process. With these it reads its own writes, although the index and
//! the table's replicas lag.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Archetype, PeerId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::item::{Generation, Stored};
use crate::lane::Place;

/// How long a write of this process overrides what is read: the hold of a snapshot and a second of
/// lag. Not longer, because it also hides later writes of other processes.
pub(crate) const HOLD: Duration = Duration::from_secs(5);
/// Maximum number of writes that are remembered: 4,000 per second, more than a process of this size
/// makes.
const MOST: usize = 20_000;

/// The latest write of this process to a peer.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Placed(Arc<Stored>),
    Removed(Generation),
}

/// The writes of the last seconds, by place on the ring.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Two ids with the same place would hide each other for some seconds. With 64-bit hashes this
    /// is not expected to happen.
    writes: BTreeMap<Place, (Instant, Written)>,
    order: VecDeque<(Instant, Place)>,
}

impl Recent {
    /// Remembers a registration.
    pub(crate) fn placed(&self, place: Place, stored: Arc<Stored>) {
        self.0.lock().insert(place, Written::Placed(stored));
    }

    /// Remembers a renewal, unless a newer write is remembered.
    pub(crate) fn renewed(&self, place: Place, stored: Arc<Stored>) {
        let mut inner = self.0.lock();
        // Another generation means that the peer was registered again since the renewal read it. Of
        // the same generation, the longer lease is newer, and a removal is final.
        let newer = inner.writes.get(&place).is_some_and(|(_, written)| match written {
            Written::Placed(other) => {
                other.generation != stored.generation || other.expires_at > stored.expires_at
            }
            Written::Removed(generation) => *generation == stored.generation,
        });
        if !newer {
            inner.insert(place, Written::Placed(stored));
        }
    }

    /// Remembers a deregistration.
    pub(crate) fn removed(&self, place: Place, generation: Generation) {
        self.0.lock().insert(place, Written::Removed(generation));
    }

    /// The latest write to the peer at a place.
    pub(crate) fn at(&self, place: Place) -> Option<Written> {
        let mut inner = self.0.lock();
        inner.drop_old();
        inner.writes.get(&place).map(|(_, written)| written.clone())
    }

    /// The latest writes to the peers in a range, with both ends included.
    pub(crate) fn within(&self, from: Place, to: Place) -> Vec<(Place, Written)> {
        let mut inner = self.0.lock();
        inner.drop_old();
        if inner.writes.is_empty() || from > to {
            return Vec::new();
        }
        inner.writes.range(from..=to).map(|(place, (_, written))| (*place, written.clone())).collect()
    }

    /// Corrects the index entries of a range by the writes of this process.
    pub(crate) fn correct(
        &self,
        (from, to): (Place, Place),
        archetypes: &[Archetype],
        entries: &mut BTreeMap<Place, PeerId>,
    ) {
        for (place, written) in self.within(from, to) {
            match written {
                Written::Placed(stored) if stored.carries(archetypes) => {
                    entries.insert(place, stored.registration.peer_id.clone());
                }
                Written::Placed(_) | Written::Removed(_) => drop(entries.remove(&place)),
            }
        }
    }
}

impl Inner {
    fn insert(&mut self, place: Place, written: Written) {
        let now = Instant::now();
        self.drop_old();
        if self.order.len() >= MOST
            && let Some((at, oldest)) = self.order.pop_front()
        {
            self.forget(oldest, at);
        }
        self.writes.insert(place, (now, written));
        self.order.push_back((now, place));
    }

    fn drop_old(&mut self) {
        while let Some(&(at, place)) = self.order.front()
            && at.elapsed() > HOLD
        {
            self.order.pop_front();
            self.forget(place, at);
        }
    }

    fn forget(&mut self, place: Place, at: Instant) {
        // A later write to the same place has its own entry in `order`, and must stay.
        if self.writes.get(&place).is_some_and(|(written_at, _)| *written_at == at) {
            self.writes.remove(&place);
        }
    }
}
