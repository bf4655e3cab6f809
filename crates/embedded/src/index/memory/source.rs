//! Sources in eight bytes, because every peer has one.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;

use aurora_discovery_registry::{Network, Source};

/// A source in eight bytes. IPv4 addresses use a range of IPv6 multicast addresses, which no
/// request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PackedSource(u64);

/// The source whose unproven heartbeats keep a peer alive. It is never a loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Keeper(NonZeroU64);

impl PackedSource {
    const IPV4: u64 = 0xFFFF_FFFF;

    pub(crate) fn new(source: Source) -> Self {
        Self(match source {
            Source::V4(v4) => Self::IPV4 << 32 | u64::from(v4.to_bits()),
            Source::V6(prefix) => prefix,
        })
    }

    pub(crate) fn unpack(self) -> Source {
        match u32::try_from(self.0 & Self::IPV4) {
            Ok(bits) if self.0 >> 32 == Self::IPV4 => Source::V4(Ipv4Addr::from_bits(bits)),
            _ => Source::V6(self.0),
        }
    }

    /// The source as a key of a table.
    pub(crate) fn key(self) -> u64 {
        self.0
    }
}

impl Keeper {
    /// `None` for loopback, which is exempt from the limit of unproven peers.
    pub(crate) fn new(source: Source) -> Option<Self> {
        // The only source whose packed form is zero is the /64 of the IPv6 loopback address, so
        // every other source has a `NonZeroU64`.
        if source.is_loopback() { None } else { NonZeroU64::new(PackedSource::new(source).0).map(Self) }
    }

    /// The source as a key of a table.
    pub(crate) fn key(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn source(self) -> Source {
        PackedSource(self.0.get()).unpack()
    }
}

/// A network as a key of a table. Networks of different kinds have different keys.
pub(crate) fn network_key(network: Network) -> u64 {
    // The longest prefix has 56 bits, so that the upper eight are free for the kind.
    let (kind, prefix) = match network {
        Network::V4(prefix) => (1, u64::from(prefix)),
        Network::V6Subscriber(prefix) => (2, prefix),
        Network::V6Site(prefix) => (3, prefix),
    };
    kind << 56 | prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn a_packed_source_unpacks_to_the_original() {
        for text in ["203.0.113.7", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::1", "fe80::1"] {
            assert_eq!(PackedSource::new(source(text)).unpack(), source(text));
        }
    }

    #[test]
    fn loopback_keeps_no_peer_alive() {
        assert_eq!([Keeper::new(source("127.0.0.1")), Keeper::new(source("::1"))], [None, None]);
        assert!(
            Keeper::new(source("203.0.113.7"))
                .is_some_and(|keeper| Some(keeper) != Keeper::new(source("2001:db8::1")))
        );
    }

    #[test]
    fn networks_of_different_kinds_have_different_keys() {
        let sources = ["0.0.1.0", "0:0:0:100::", "0:0:1::"].map(source);
        let mut keys: Vec<_> = sources.iter().map(|source| network_key(source.network())).collect();
        keys.extend(sources.iter().filter_map(|source| source.site()).map(network_key));
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!((count, keys.len()), (5, 5));
    }
}
