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

use crate::group::Group;

/// A bounded amount of a resource, with a total limit and a limit per source and network.
///
/// A source may take more while it uses less than an eighth of what is left. A source that is alone
/// therefore gets a ninth of the budget, which is an eighth of the other eight ninths. Each further
/// source gets a ninth of the rest. Eight sources leave two fifths of the budget for all others. A
/// source that uses nothing is refused only if nothing is left, or if its network uses too much.
///
/// In the same way, a network may take more while it uses less than a quarter of what is left, and
/// an IPv6 /48 while it uses less than half. A network that is alone therefore gets a fifth of the
/// budget, and an IPv6 /48 that is alone gets a third.
///
/// For loopback addresses, only the total is limited, because a proxy on the same machine may
/// forward the requests of all clients.
#[derive(Debug)]
pub(crate) struct SourceBudget {
    max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    total: usize,
    by_group: HashMap<Group, usize>,
}

/// The part of a budget that one request or response uses. Dropping it returns that part to the
/// budget.
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

    /// A share of `amount`, or `None` if the budget has no room for this source.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr, amount: usize) -> Option<Share> {
        let mut share = self.share(address);
        share.grow(amount).then_some(share)
    }

    /// Whether the budget has any room for a request from `address`.
    pub(crate) fn has_room(&self, address: IpAddr) -> bool {
        self.used.lock().has_room(self.max, Source::of(address))
    }
}

impl Used {
    fn has_room(&self, max: usize, source: Source) -> bool {
        let left = max.saturating_sub(self.total);
        let is_below_share = |group: Group| {
            let used = self.by_group.get(&group).copied().unwrap_or_default();
            used.saturating_mul(group.fraction()) < left
        };
        // Clients behind a proxy on this machine share its loopback address, so only the total is
        // limited for it.
        left > 0 && (source.is_loopback() || Group::all_of(source).all(is_below_share))
    }
}

impl Share {
    /// Adds `amount` and returns `true` if the budget has any room for the source. The addition may
    /// exceed the budget, because the bytes that it counts are already in memory.
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
        for group in Group::all_of(self.source) {
            *used.by_group.entry(group).or_default() += amount;
        }
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
        for group in Group::all_of(self.source) {
            // Groups that use nothing are removed, so that the map does not grow with every client.
            if let Entry::Occupied(mut of_group) = used.by_group.entry(group) {
                *of_group.get_mut() -= self.amount;
                if *of_group.get() == 0 {
                    of_group.remove();
                }
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
        assert!(used.total == 0 && used.by_group.is_empty(), "a source without a share has no entry");
    }

    #[test]
    fn eight_sources_cannot_use_up_the_budget() {
        let budget = SourceBudget::new(1_000);
        let source = |n| IpAddr::from([203, 0, n, 7]);
        let mut held = Vec::new();
        for n in 0..8 {
            held.extend(std::iter::from_fn(|| budget.take(source(n), 1)));
        }
        assert!((590..=620).contains(&held.len()), "{} of 1,000", held.len());
        held.extend(std::iter::from_fn(|| budget.take(source(8), 1)));
        assert!(held.len() > 620, "a further source gets a share");
    }

    #[test]
    fn a_network_of_many_sources_cannot_use_up_the_budget() {
        let used_by = |addresses: Vec<String>| {
            let budget = SourceBudget::new(1_000);
            let addresses = addresses.iter().map(|text| text.parse().unwrap());
            let mut held = Vec::new();
            for address in addresses {
                held.extend(std::iter::from_fn(|| budget.take(address, 1)));
            }
            held.len()
        };
        assert_eq!(used_by((0..100).map(|n| format!("203.0.113.{n}")).collect()), 200, "a /24");
        assert_eq!(used_by((0..100).map(|n| format!("2001:db8:0:{n:x}::1")).collect()), 200, "a /56");
        assert_eq!(used_by((0..100).map(|n| format!("2001:db8:0:{n:x}00::1")).collect()), 334, "a /48");
        assert!(used_by((0..100).map(|n| format!("2001:db8:{n:x}::1")).collect()) > 990, "many networks");
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
