//! Counts the peers per source, and the peers per published address that differs from the source.

use std::hash::{BuildHasher, RandomState};

use aurora_discovery_registry::Source;

use super::memory::table::ShardedTable;

pub(crate) struct Quota {
    hasher: RandomState,
    sources: ShardedTable<SourceCount>,
    addresses: ShardedTable<AddressCount>,
}

struct SourceCount {
    source: u64,
    live: u32,
    dormant: u32,
}

struct AddressCount {
    address: u64,
    live: u32,
}

impl Quota {
    pub(crate) fn new() -> Self {
        Self { hasher: RandomState::new(), sources: ShardedTable::new(), addresses: ShardedTable::new() }
    }

    pub(crate) fn live_from(&self, source: Source) -> u32 {
        self.source(source).map_or(0, |count| count.live)
    }

    pub(crate) fn dormant_from(&self, source: Source) -> u32 {
        self.source(source).map_or(0, |count| count.dormant)
    }

    pub(crate) fn live_at(&self, address: u64) -> u32 {
        self.addresses
            .find(self.hasher.hash_one(address), |count| count.address == address)
            .map_or(0, |count| count.live)
    }

    pub(crate) fn add_live(&mut self, source: Source, address: u64) {
        self.change_source(source, |count| count.live += 1);
        self.change_address(address, |count| count.live += 1);
    }

    pub(crate) fn remove_live(&mut self, source: Source, address: u64) {
        self.change_source(source, |count| count.live -= 1);
        self.change_address(address, |count| count.live -= 1);
    }

    pub(crate) fn add_dormant(&mut self, source: Source) {
        self.change_source(source, |count| count.dormant += 1);
    }

    pub(crate) fn remove_dormant(&mut self, source: Source) {
        self.change_source(source, |count| count.dormant -= 1);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.sources.len(), self.addresses.len())
    }

    fn source(&self, source: Source) -> Option<&SourceCount> {
        let source = bits(source);
        self.sources.find(self.hasher.hash_one(source), |count| count.source == source)
    }

    fn change_source(&mut self, source: Source, change: impl FnOnce(&mut SourceCount)) {
        let (source, hasher) = (bits(source), &self.hasher);
        let hash = hasher.hash_one(source);
        let count = self.sources.find_or_insert(
            hash,
            |count| count.source == source,
            |count| hasher.hash_one(count.source),
            || SourceCount { source, live: 0, dormant: 0 },
        );
        change(count);
        // There are more sources over time than peers, so counts of zero must not stay in memory.
        if count.live == 0 && count.dormant == 0 {
            self.sources.remove(hash, |count| count.source == source);
        }
    }

    fn change_address(&mut self, address: u64, change: impl FnOnce(&mut AddressCount)) {
        // Zero means that no limit applies: the address is the source of the request, or
        // undialable.
        if address == 0 {
            return;
        }
        let hasher = &self.hasher;
        let hash = hasher.hash_one(address);
        let count = self.addresses.find_or_insert(
            hash,
            |count| count.address == address,
            |count| hasher.hash_one(count.address),
            || AddressCount { address, live: 0 },
        );
        change(count);
        if count.live == 0 {
            self.addresses.remove(hash, |count| count.address == address);
        }
    }
}

/// A source in eight bytes. IPv4 addresses use the range of IPv6 multicast addresses, which no
/// request comes from.
fn bits(source: Source) -> u64 {
    match source {
        Source::V4(v4) => u64::MAX << 32 | u64::from(v4.to_bits()),
        Source::V6(prefix) => prefix,
    }
}
