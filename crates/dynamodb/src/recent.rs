//! What this process wrote a moment ago, so that it reads its own writes although the index and the table's copies lag.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use aurora_protocol::{Archetype, PeerId};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::item::{Generation, Stored};
use crate::lane::Place;

/// How long an own write stands in for what is read: a snapshot's hold and a second of lag, and no longer, because it
/// also hides what another process wrote since.
pub(crate) const HOLD: Duration = Duration::from_secs(5);
/// Most writes that are remembered: 4,000 a second, more than a process of this size writes.
const MOST: usize = 20_000;

/// What this process last made of a peer.
#[derive(Clone, Debug)]
pub(crate) enum Written {
    Placed(Arc<Stored>),
    Removed(Generation),
}

/// The own writes of the last seconds, by their place on the ring.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Two ids at one place would hide each other for some seconds; with 64 bits that is not to be expected.
    writes: BTreeMap<Place, (Instant, Written)>,
    order: VecDeque<(Instant, Place)>,
}

impl Recent {
    /// Remembers a registration.
    pub(crate) fn placed(&self, place: Place, stored: Arc<Stored>) {
        self.0.lock().insert(place, Written::Placed(stored));
    }

    /// Remembers a renewal, unless something newer than what was renewed is remembered.
    pub(crate) fn renewed(&self, place: Place, stored: Arc<Stored>) {
        let mut inner = self.0.lock();
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

    /// What was last made of the peer at a place.
    pub(crate) fn at(&self, place: Place) -> Option<Written> {
        let mut inner = self.0.lock();
        inner.drop_old();
        inner.writes.get(&place).map(|(_, written)| written.clone())
    }

    /// What was last made of the peers from one place to another, both included.
    pub(crate) fn within(&self, from: Place, to: Place) -> Vec<(Place, Written)> {
        let mut inner = self.0.lock();
        inner.drop_old();
        if inner.writes.is_empty() || from > to {
            return Vec::new();
        }
        inner.writes.range(from..=to).map(|(place, (_, written))| (*place, written.clone())).collect()
    }

    /// Corrects what the index said of a window.
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
        if self.writes.get(&place).is_some_and(|(written_at, _)| *written_at == at) {
            self.writes.remove(&place);
        }
    }
}
