//! A budget that no single source can use up.
//!
//! The limits of tower and tower-http count requests instead of bytes, and do not distinguish
//! sources. With those alone, one client that never reads, or never finishes sending, could take
//! all memory or all permits.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_registry::Source;
use parking_lot::Mutex;

/// A single source may use at most this fraction of what the others leave: one eighth.
pub(crate) const SOURCE_FRACTION: usize = 8;

/// A bounded amount of a resource, with a total limit and a limit per source.
///
/// A source may take more only while it uses less than an eighth of what is left. One source alone
/// gets a ninth of the budget, and each further one a ninth of the rest, so that eight sources
/// leave two fifths to all others, and a source that uses nothing gets its first share almost
/// always.
///
/// Loopback addresses have only the total limit, since a proxy on the same machine forwards the
/// requests of all clients.
#[derive(Debug)]
pub(crate) struct SourceBudget {
    max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    by_source: HashMap<Source, usize>,
}

/// The part of a budget that one holder uses. Dropping it returns that part.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<SourceBudget>,
    source: Source,
    amount: usize,
}

impl SourceBudget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: Mutex::default() })
    }

    /// An empty share for a request from `address`.
    pub(crate) fn share(self: &Arc<Self>, address: IpAddr) -> Share {
        Share { budget: Arc::clone(self), source: Source::of(address), amount: 0 }
    }

    /// A share of `amount`, or `None` if the budget is used up.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, amount: usize) -> Option<Share> {
        let mut share = self.share(address);
        share.grow(amount).then_some(share)
    }

    /// Whether a request from `address` may use anything of the budget.
    pub(crate) fn has_room(&self, address: IpAddr) -> bool {
        self.used.lock().has_room(self.max, Source::of(address))
    }
}

impl Used {
    fn has_room(&self, max: usize, source: Source) -> bool {
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        let left = max.saturating_sub(self.total);
        // Clients behind a proxy on this machine share its loopback address.
        left > 0 && (of_source.saturating_mul(SOURCE_FRACTION) < left || source.is_loopback())
    }
}

impl Share {
    /// Adds `amount`, unless the budget is already used up. The last addition may exceed the
    /// budget, because the bytes it counts are already in memory.
    #[must_use]
    pub(crate) fn grow(&mut self, amount: usize) -> bool {
        if amount == 0 {
            return true;
        }
        let mut used = self.budget.used.lock();
        if !used.has_room(self.budget.max, self.source) {
            return false;
        }
        used.total += amount;
        *used.by_source.entry(self.source).or_default() += amount;
        self.amount += amount;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let mut used = self.budget.used.lock();
        used.total -= self.amount;
        // Sources without a share are removed, so that the map does not grow with every client.
        if let Entry::Occupied(mut of_source) = used.by_source.entry(self.source) {
            *of_source.get_mut() -= self.amount;
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
    fn one_source_cannot_use_up_the_budget() {
        let budget = SourceBudget::new(20);
        let [greedy, other, loopback]: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8:0:1::1", "127.0.0.1"].map(|text| text.parse().unwrap());
        let mut held: Vec<_> = std::iter::from_fn(|| budget.take(greedy, 1)).collect();
        assert_eq!(held.len(), 3);
        assert!(budget.take(other, 1).is_some());
        held.pop();
        held.extend(budget.take(greedy, 1));
        assert_eq!(held.len(), 3);
        held.extend(std::iter::from_fn(|| budget.take(loopback, 1)));
        assert_eq!(held.len(), 20, "loopback addresses have only the total limit");
        assert!(budget.take(other, 1).is_none());
        drop(held);
        let used = budget.used.lock();
        assert!(used.total == 0 && used.by_source.is_empty(), "a source without a share has no entry");
    }

    #[test]
    fn eight_sources_cannot_use_up_the_budget() {
        let budget = SourceBudget::new(1_000);
        let source = |n| IpAddr::from([203, 0, 113, n]);
        let mut held = Vec::new();
        for n in 0..8 {
            held.extend(std::iter::from_fn(|| budget.take(source(n), 1)));
        }
        assert!((590..=620).contains(&held.len()), "{} of 1,000", held.len());
        held.extend(std::iter::from_fn(|| budget.take(source(8), 1)));
        assert!(held.len() > 620, "a further source gets a share");
    }

    #[test]
    fn a_share_grows_until_the_budget_is_used_up_and_is_returned_when_dropped() {
        let budget = SourceBudget::new(100);
        let loopback = IpAddr::from([127, 0, 0, 1]);
        let (mut long, mut short) = (budget.share(loopback), budget.share(loopback));
        assert!(long.grow(60) && long.grow(39) && short.grow(7));
        assert!(!short.grow(1) && !long.grow(1));
        drop(long);
        assert!(short.grow(1));
        drop(short);
        assert_eq!(budget.used.lock().total, 0);
    }
}
