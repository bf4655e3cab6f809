//! How many may watch, in all and from one source.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use aurora_registry::Source;
use parking_lot::Mutex;

/// One source may take one in so many places: who holds streams must not use up what the others need.
const SHARES: usize = 8;

/// The places of all that watch.
#[derive(Clone, Debug)]
pub(super) struct Places {
    max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<Source, usize>,
}

/// One who watches, for as long as it does.
#[derive(Debug)]
pub(super) struct Place {
    source: Source,
    places: Places,
}

impl Places {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// Takes a place for a request from `address`, if one is left. The service's own machine may take all, since a proxy there
    /// stands for everybody.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let source = Source::of(address);
        let mut taken = self.taken.lock();
        let of_source = taken.by_source.get(&source).copied().unwrap_or_default();
        let share = self.max.div_ceil(SHARES);
        if taken.all >= self.max || (of_source >= share && !source.is_loopback()) {
            return None;
        }
        taken.all += 1;
        taken.by_source.insert(source, of_source + 1);
        Some(Place { source, places: self.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Entry::Occupied(mut of_source) = taken.by_source.entry(self.source) {
            *of_source.get_mut() -= 1;
            if *of_source.get() == 0 {
                of_source.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_watches_a_lot_leaves_places_for_the_others() {
        let places = Places::new(20);
        let [greedy, neighbour, home]: [IpAddr; 3] =
            ["192.0.2.1", "192.0.2.2", "127.0.0.1"].map(|text| text.parse().unwrap());
        let mut held: Vec<_> = std::iter::from_fn(|| places.take(greedy)).collect();
        assert_eq!(held.len(), 3);
        assert!(places.take(neighbour).is_some());
        held.pop();
        held.extend(places.take(greedy));
        assert_eq!(held.len(), 3);
        held.extend(std::iter::from_fn(|| places.take(home)));
        assert_eq!(held.len(), 20, "the own machine may take all that is left");
        assert!(places.take(neighbour).is_none());
        drop(held);
        let taken = places.taken.lock();
        assert!(taken.all == 0 && taken.by_source.is_empty(), "who left leaves nothing behind");
    }
}
