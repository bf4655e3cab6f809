//! Counts the peers per source, per network and per published address, and the peers that each
//! source keeps alive by unproven heartbeats.

use std::hash::{BuildHasher, RandomState};

use aurora_discovery_registry::{Network, Source};

use super::memory::count::CountTable;
use super::memory::source::{Keeper, PackedSource, network_key};
use super::memory::tail::Tail;

pub(crate) struct Quota {
    hasher: RandomState,
    /// Live peers per source.
    sources: CountTable,
    /// Live peers per network and per site.
    networks: CountTable,
    /// Live peers per [`AddressKeys`].
    addresses: CountTable,
    /// Number of peers that each source keeps alive by unproven heartbeats.
    kept: CountTable,
}

/// The keys of the four counts that a peer increases by publishing its address. The four counts are
/// in one table. The host is hashed with a secret key, so that clients cannot construct addresses
/// whose keys collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddressKeys {
    /// The address, whatever the port.
    pub(crate) host: u64,
    /// The address, counting only the peers of one source.
    pub(crate) host_share: u64,
    /// The address and port.
    pub(crate) endpoint: u64,
    /// The address and port, counting only the peers of one source.
    pub(crate) endpoint_share: u64,
}

impl Quota {
    pub(crate) fn new() -> Self {
        let [sources, networks, addresses, kept] = [(); 4].map(|()| CountTable::new());
        Self { hasher: RandomState::new(), sources, networks, addresses, kept }
    }

    pub(crate) fn live_from(&self, source: Source) -> u32 {
        self.sources.get(PackedSource::new(source).key())
    }

    pub(crate) fn live_in(&self, network: Network) -> u32 {
        self.networks.get(network_key(network))
    }

    /// The count of one of the [`AddressKeys`].
    pub(crate) fn live_at(&self, key: u64) -> u32 {
        self.addresses.get(key)
    }

    pub(crate) fn kept_by(&self, keeper: Keeper) -> u32 {
        self.kept.get(keeper.key())
    }

    /// The keys for the published address of a peer. `None` if no limit applies to the address;
    /// `host_key` is zero then.
    pub(crate) fn address_keys(&self, host_key: u64, port: u16, source: PackedSource) -> Option<AddressKeys> {
        let source = source.key();
        (host_key != 0).then(|| AddressKeys {
            host: self.hasher.hash_one(host_key),
            host_share: self.hasher.hash_one((host_key, source)),
            endpoint: self.hasher.hash_one((host_key, port)),
            endpoint_share: self.hasher.hash_one((host_key, port, source)),
        })
    }

    /// The keys for the published address of the peer in a tail.
    pub(crate) fn address_keys_of(&self, tail: &Tail) -> Option<AddressKeys> {
        self.address_keys(tail.host_key, tail.port, tail.source)
    }

    /// Counts a live peer.
    pub(crate) fn add_live(&mut self, tail: &Tail) {
        self.change(tail, CountTable::increment);
    }

    /// Reverses [`Quota::add_live`].
    pub(crate) fn remove_live(&mut self, tail: &Tail) {
        self.change(tail, CountTable::decrement);
    }

    pub(crate) fn add_kept(&mut self, keeper: Keeper) {
        self.kept.increment(keeper.key());
    }

    pub(crate) fn remove_kept(&mut self, keeper: Keeper) {
        self.kept.decrement(keeper.key());
    }

    fn change(&mut self, tail: &Tail, change: fn(&mut CountTable, u64)) {
        let source = tail.source.unpack();
        change(&mut self.sources, tail.source.key());
        for network in std::iter::once(source.network()).chain(source.site()) {
            change(&mut self.networks, network_key(network));
        }
        let keys = self.address_keys_of(tail);
        for key in keys.iter().flat_map(AddressKeys::all) {
            change(&mut self.addresses, key);
        }
    }

    /// Number of sources, networks, [`AddressKeys`] and keepers with a count.
    #[cfg(test)]
    pub(crate) fn len(&self) -> [usize; 4] {
        [&self.sources, &self.networks, &self.addresses, &self.kept].map(CountTable::len)
    }
}

impl AddressKeys {
    pub(crate) fn all(&self) -> [u64; 4] {
        [self.host, self.host_share, self.endpoint, self.endpoint_share]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(source: &str, host_key: u64, port: u16) -> Tail {
        let mut tail = Tail::vacant();
        tail.source = PackedSource::new(Source::of(source.parse().unwrap()));
        (tail.host_key, tail.port) = (host_key, port);
        tail
    }

    #[test]
    fn a_peer_counts_for_its_source_networks_and_published_address() {
        let mut quota = Quota::new();
        let [one, two, other] =
            [tail("2001:db8::1", 7, 80), tail("2001:db8:0:1::1", 7, 81), tail("203.0.113.7", 0, 80)];
        for tail in [&one, &two, &other] {
            quota.add_live(tail);
        }
        let source = one.source.unpack();
        let networks = [Some(source.network()), source.site()].map(Option::unwrap);
        assert_eq!((quota.live_from(source), networks.map(|network| quota.live_in(network))), (1, [2, 2]));
        let keys = quota.address_keys_of(&one).unwrap();
        assert_eq!(keys.all().map(|key| quota.live_at(key)), [2, 1, 1, 1]);
        assert_eq!(quota.address_keys_of(&other), None);
        assert_eq!(quota.len(), [3, 3, 7, 0]);
        for tail in [&one, &two, &other] {
            quota.remove_live(tail);
        }
        assert_eq!(quota.len(), [0; 4]);
    }
}
