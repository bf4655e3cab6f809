//! The addresses of a host name, in the order in which a client tries them.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync;

/// Resolves host names, and sorts the addresses of a name into the order in which this client tries
/// them. Each client draws its own random order, so that clients spread over the addresses. It
/// keeps that order, so that it stays with an address that works. The system's result decides
/// whether IPv4 or IPv6 comes first.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Inner>);

struct Inner {
    /// The random key of the hashes by which addresses are sorted.
    order: RandomState,
    /// How often the client has moved on to the next address.
    moves: AtomicUsize,
    /// The names that have several addresses of one family.
    several: Mutex<HashSet<String>>,
    lookup: Box<Lookup>,
}

impl Addresses {
    /// Resolves names with `lookup`.
    pub(crate) fn new<F>(lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(Inner {
            order: RandomState::new(),
            moves: AtomicUsize::new(0),
            several: Mutex::default(),
            lookup: Box::new(move |name| Box::pin(lookup(name))),
        }))
    }

    /// Whether the last look-up of `name` found several addresses of one family.
    pub(crate) fn are_several(&self, name: &str) -> bool {
        self.0.several.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// Moves on: from now on, every name resolves with its next address first.
    pub(crate) fn move_on(&self) {
        self.0.moves.fetch_add(1, Ordering::Relaxed);
    }
}

impl Default for Addresses {
    /// Resolves names with the system's resolver.
    fn default() -> Self {
        Self::new(async |name: String| Ok(tokio::net::lookup_host((name, 0)).await?.collect()))
    }
}

impl Resolve for Addresses {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let found = (inner.lookup)(name.as_str().to_owned()).await?;
            let addresses: Addrs = Box::new(inner.sort(name.as_str(), found).into_iter());
            Ok(addresses)
        })
    }
}

impl Inner {
    fn sort(&self, name: &str, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let is_ipv4 = found.first().is_some_and(SocketAddr::is_ipv4);
        let (mut preferred, mut other): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|address| address.is_ipv4() == is_ipv4);
        // A resolver may return the addresses in another order each time. Sorting them by a keyed
        // hash gives an order that is random for each client and constant within a client. Each
        // call of `move_on` moves the start of that order by one address.
        for family in [&mut preferred, &mut other] {
            family.sort_by_cached_key(|address| self.order.hash_one(address));
            family.dedup();
            let moved = self.moves.load(Ordering::Relaxed).checked_rem(family.len());
            family.rotate_left(moved.unwrap_or_default());
        }
        let mut several = self.several.lock().unwrap_or_else(PoisonError::into_inner);
        if preferred.len() > 1 || other.len() > 1 {
            several.insert(name.to_owned());
        } else {
            several.remove(name);
        }
        preferred.append(&mut other);
        preferred
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("moves", &self.0.moves).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn v4(last: u8) -> SocketAddr {
        (Ipv4Addr::new(10, 0, 0, last), 0).into()
    }

    #[test]
    fn clients_spread_over_the_addresses_of_a_name_and_each_stays_with_its_first() {
        let found: Vec<_> = (0..8).map(v4).collect();
        let first = |addresses: &Addresses| addresses.0.sort("name", found.clone())[0];
        // The probability that 200 clients leave out one of 8 addresses is below 1 in 10^10.
        let clients: Vec<_> = (0..200).map(|_| Addresses::default()).collect();
        let firsts: HashSet<_> = clients.iter().map(first).collect();
        assert_eq!(firsts.len(), 8);
        for client in &clients {
            assert_eq!(first(client), first(client));
        }
        let tried: HashSet<_> = (0..8)
            .map(|_| {
                clients[0].move_on();
                first(&clients[0])
            })
            .collect();
        assert_eq!(tried.len(), 8, "a client that moves on tries all addresses");
    }

    #[test]
    fn the_order_of_the_families_is_the_systems() {
        let v6: SocketAddr = "[2001:db8::1]:0".parse().unwrap();
        for _ in 0..20 {
            let sorted = Addresses::default().0.sort("name", vec![v6, v4(1), v4(2)]);
            assert_eq!(sorted[0], v6);
        }
        let addresses = Addresses::default();
        addresses.0.sort("both", vec![v6, v4(1)]);
        addresses.0.sort("many", vec![v6, v4(1), v4(2)]);
        assert!(!addresses.are_several("both"), "another family is no other machine");
        assert!(addresses.are_several("many"));
    }
}
