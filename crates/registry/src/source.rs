//! The source of a request, at the granularity that one party controls.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a request came from: an IPv4 address, or the /64 of an IPv6 address, which is the least
/// that a provider assigns to one subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// An IPv4 address. An IPv4-mapped IPv6 address counts as the IPv4 address.
    V4(Ipv4Addr),
    /// The upper 64 bits of an IPv6 address.
    V6(u64),
}

impl Source {
    /// The source of a request from `address`.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6(prefix(v6)),
        }
    }

    /// Whether the source is the service's own machine.
    pub fn is_loopback(self) -> bool {
        match self {
            Self::V4(v4) => v4.is_loopback(),
            Self::V6(prefix) => prefix == 0,
        }
    }

    /// Whether both sources are in the same IPv4 /24 or IPv6 /48, within which the addresses of a
    /// typical subscriber vary.
    pub fn is_near(self, other: Self) -> bool {
        match (self, other) {
            (Self::V4(one), Self::V4(two)) => one.to_bits() >> 8 == two.to_bits() >> 8,
            (Self::V6(one), Self::V6(two)) => one >> 16 == two >> 16,
            (Self::V4(_), Self::V6(_)) | (Self::V6(_), Self::V4(_)) => false,
        }
    }

    /// The network of this source whose peers are bounded together, in addition to the bound per
    /// source: an IPv4 /24 or an IPv6 /56. Providers usually assign at most a /56 to one IPv6
    /// subscriber.
    pub fn network(self) -> Network {
        match self {
            Self::V4(v4) => Network::V4(v4.to_bits() >> 8),
            Self::V6(prefix) => Network::V6Subscriber(prefix >> 8),
        }
    }

    /// The IPv6 /48 of this source, which is the most that one site is assigned.
    pub fn site(self) -> Option<Network> {
        match self {
            Self::V4(_) => None,
            Self::V6(prefix) => Some(Network::V6Site(prefix >> 16)),
        }
    }

    /// The wide network of this source, at the granularity of a provider: an IPv4 /16 or an IPv6
    /// /32. A diverse sample draws peers from different wide networks. One party may use many wide
    /// networks, but each costs it much more than an address does.
    pub fn wide_network(self) -> WideNetwork {
        WideNetwork(match self {
            Self::V4(v4) => 1 << 32 | u64::from(v4.to_bits() >> 16),
            Self::V6(prefix) => prefix >> 32,
        })
    }

    /// Whether `address` belongs to this source.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::of(address) == self
    }

    /// The form in which stores keep a source: one byte for the kind and eight bytes of address.
    pub fn to_bytes(self) -> [u8; 9] {
        let (kind, bits) = match self {
            Self::V4(v4) => (4, u64::from(v4.to_bits())),
            Self::V6(prefix) => (6, prefix),
        };
        let mut bytes = [kind; 9];
        bytes[1..].copy_from_slice(&bits.to_be_bytes());
        bytes
    }

    /// Reads the bytes that [`Source::to_bytes`] wrote. `None` if they are not valid.
    pub fn from_bytes(bytes: [u8; 9]) -> Option<Self> {
        let [kind, bits @ ..] = bytes;
        let bits = u64::from_be_bytes(bits);
        match kind {
            4 => u32::try_from(bits).ok().map(|bits| Self::V4(Ipv4Addr::from_bits(bits))),
            6 => Some(Self::V6(bits)),
            _ => None,
        }
    }
}

/// A range of addresses whose peers share a limit, because one party may control all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An IPv4 /24, by its upper 24 bits.
    V4(u32),
    /// An IPv6 /56, by its upper 56 bits.
    V6Subscriber(u64),
    /// An IPv6 /48, by its upper 48 bits.
    V6Site(u64),
}

/// A network that diverse samples distinguish: an IPv4 /16 or an IPv6 /32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WideNetwork(u64);

impl WideNetwork {
    /// A number of at most 33 bits that identifies the network.
    pub const fn key(self) -> u64 {
        self.0
    }
}

fn prefix(v6: Ipv6Addr) -> u64 {
    let [prefix @ .., _, _, _, _, _, _, _, _] = v6.octets();
    u64::from_be_bytes(prefix)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => v4.fmt(f),
            Self::V6(prefix) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*prefix) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_a_64() {
        assert_eq!(source("203.0.113.7"), source("::ffff:203.0.113.7"));
        assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:2:ffff::"));
        assert_ne!(source("2001:db8:1:2::3"), source("2001:db8:1:3::3"));
        assert_ne!(source("203.0.113.7"), source("203.0.113.8"));
        assert_eq!(source("2001:db8:1:2::3").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_network_is_a_24_or_a_56_and_a_site_a_48() {
        let [one, two, far] = ["203.0.113.7", "203.0.113.200", "203.0.114.7"].map(source);
        assert!(one.is_near(two) && !one.is_near(far) && one.site().is_none());
        assert!(one.network() == two.network() && one.network() != far.network());
        let [home, nearby, site, away] =
            ["2001:db8:1:2::1", "2001:db8:1:ff::1", "2001:db8:1:100::1", "2001:db8:2::1"].map(source);
        assert!(home.network() == nearby.network() && home.network() != site.network());
        assert!(home.site() == site.site() && home.site() != away.site());
        assert!(home.is_near(site) && !home.is_near(away) && !home.is_near(one));
    }

    #[test]
    fn a_wide_network_is_a_16_or_a_32() {
        let [one, near, far] = ["203.0.113.7", "203.0.200.9", "203.1.113.7"].map(source);
        assert!(one.wide_network() == near.wide_network() && one.wide_network() != far.wide_network());
        let [one, near, far] = ["2001:db8::1", "2001:db8:ffff::1", "2001:db9::1"].map(source);
        assert!(one.wide_network() == near.wide_network() && one.wide_network() != far.wide_network());
        assert_ne!(source("0.1.0.0").wide_network(), source("0:1::").wide_network());
    }

    #[test]
    fn loopback_is_recognized_in_both_families() {
        assert!(source("127.0.0.9").is_loopback() && source("::1").is_loopback());
        assert!(!source("10.0.0.1").is_loopback() && !source("2001:db8::1").is_loopback());
    }

    #[test]
    fn a_stored_source_round_trips() {
        for text in ["203.0.113.7", "255.255.255.255", "2001:db8::1", "::1"] {
            assert_eq!(Source::from_bytes(source(text).to_bytes()), Some(source(text)));
        }
        assert_eq!(Source::from_bytes([0; 9]), None);
        assert_eq!(Source::from_bytes([4, 255, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
