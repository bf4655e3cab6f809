//! The address at which a peer can be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The address that a peer publishes: an IP address or a DNS name. The service never resolves it or
/// connects to it.
///
/// IP addresses are kept in canonical form. An IPv4-mapped IPv6 address becomes the IPv4 address,
/// so that equal addresses have the same text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// A unicast IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A DNS name of at most 253 characters, as the peer wrote it.
    Name(Box<str>),
}

impl Address {
    /// The maximum length of a DNS name in text form, in characters (RFC 1035, section 2.3.4).
    pub const MAX_NAME_LEN: usize = 253;
    const MAX_LABEL_LEN: usize = 63;

    /// Parses an address. `None` means the source address of the request; peers write it as `""`,
    /// `0.0.0.0` or `::`.
    ///
    /// # Errors
    /// [`Invalid`] for IP addresses that [`Address::from_ip`] refuses, and for text that is neither
    /// an IP address nor a DNS name.
    pub fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<IpAddr>() {
            Ok(ip) if ip.to_canonical().is_unspecified() => Ok(None),
            Ok(ip) => Self::from_ip(ip).map(Some),
            Err(_) => Self::from_name(text).map(Some),
        }
    }

    /// Converts an IP address that a peer published.
    ///
    /// # Errors
    /// [`Invalid`] if the address is link-local or does not identify a single host.
    pub fn from_ip(ip: IpAddr) -> Result<Self, Invalid> {
        let ip = ip.to_canonical();
        // Traffic to an IPv6 address that embeds an IPv4 address ends at the IPv4 address. The
        // rules therefore apply to the IPv4 address.
        let host = embedded_ipv4(ip).map_or(ip, IpAddr::V4);
        let link_local = match host {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if link_local {
            return Err(Invalid::rule(
                "must not be a link-local address: it is not reachable from other networks",
            ));
        }
        if host.is_unspecified() || host.is_multicast() || host == IpAddr::from([255, 255, 255, 255]) {
            return Err(Invalid::rule(
                "must be the address of one host, not a multicast or broadcast address",
            ));
        }
        Ok(Self::Ip(ip))
    }

    fn from_name(text: &str) -> Result<Self, Invalid> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let labels_fit = name.split('.').all(|label| {
            (1..=Self::MAX_LABEL_LEN).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        if !labels_fit || text.len() > Self::MAX_NAME_LEN || ends_in_a_number(name) {
            return Err(Invalid::rule(
                "must be an IPv4 address, an IPv6 address or a DNS name, without a port",
            ));
        }
        Ok(Self::Name(text.into()))
    }
}

/// The host that an address stands for, however the address is written. Traffic to two addresses
/// with the same host ends at the same machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IP address. If an IPv6 address or a name embeds an IPv4 address, the host is the embedded
    /// address.
    Ip(IpAddr),
    /// A DNS name in lower case, without a trailing dot.
    Name(Box<str>),
}

impl Address {
    /// The host that this address stands for.
    pub fn host(&self) -> Host {
        match self {
            Self::Ip(ip) => Host::Ip(embedded_ipv4(*ip).map_or(*ip, IpAddr::V4)),
            Self::Name(name) => match ipv4_in_name(name) {
                Some(v4) => Host::Ip(v4.into()),
                None => Host::Name(name.trim_end_matches('.').to_ascii_lowercase().into()),
            },
        }
    }
}

impl Host {
    /// Whether the address means a different host on each network. True for private (RFC 1918),
    /// loopback, carrier-grade NAT (RFC 6598) and unique local (RFC 4193) addresses.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(IpAddr::V4(v4)) => {
                let [first, second, ..] = v4.octets();
                v4.is_private() || v4.is_loopback() || (first == 100 && second & 0xC0 == 64)
            }
            Self::Ip(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
            Self::Name(_) => false,
        }
    }
}

impl Host {
    /// Whether hosts in other networks may be able to reach this one. They cannot reach a
    /// [local](Host::is_local) address, an address that is reserved for documentation, benchmarks
    /// or future use, or a name that only a local network resolves. This function does not check
    /// that the host exists.
    pub fn is_public(&self) -> bool {
        match self {
            _ if self.is_local() => false,
            Self::Ip(IpAddr::V4(v4)) => {
                let [first, second, third, _] = v4.octets();
                let is_for_benchmarks = first == 198 && second & 0xFE == 18;
                let is_for_protocols = [first, second, third] == [192, 0, 0];
                let is_reserved = first == 0 || first >= 240;
                !(is_for_benchmarks || is_for_protocols || is_reserved || v4.is_documentation())
            }
            // Networks get their addresses from 2000::/3, of which 2001:db8::/32 and 3fff::/20 are
            // reserved for documentation.
            Self::Ip(IpAddr::V6(v6)) => {
                let [first, second, ..] = v6.segments();
                let is_documentation =
                    (first, second) == (0x2001, 0xDB8) || first == 0x3FFF && second < 0x1000;
                first & 0xE000 == 0x2000 && !is_documentation
            }
            Self::Name(name) => is_public_name(name),
        }
    }
}

/// Whether the public DNS may resolve a name, which must be in lower case. It does not resolve
/// names without a dot, or names under a domain that is reserved for local use (RFC 2606, 6761,
/// 6762, 8375, and `internal`).
fn is_public_name(name: &str) -> bool {
    const LOCAL: [&str; 6] = ["localhost", "local", "internal", "invalid", "test", "example"];
    let labels: Vec<&str> = name.split('.').collect();
    match *labels {
        [.., "home", "arpa"] => false,
        [.., _, last] => !LOCAL.contains(&last),
        _ => false,
    }
}

/// The IPv4 address that an IPv6 address embeds: IPv4-mapped and IPv4-compatible (RFC 4291),
/// IPv4-translated (RFC 2765), NAT64 (RFC 6052 and RFC 8215), 6to4 (RFC 3056) and Teredo (RFC 4380)
/// addresses.
fn embedded_ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip.to_canonical() else { return None };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if v6 != Ipv6Addr::LOCALHOST => Some(of(g, h)),
        [0, 0, 0, 0, 0xFFFF, 0] => Some(of(g, h)),
        [0x64, 0xFF9B, 0, 0, 0, 0] => Some(of(g, h)),
        [0x64, 0xFF9B, 1, ..] => Some(ipv4_of_local_nat64(v6)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        // Teredo inverts all bits of the address of the client's NAT.
        [0x2001, 0, ..] => Some(of(!g, !h)),
        _ => None,
    }
}

/// The IPv4 address in an address of `64:ff9b:1::/48`, which networks use for a NAT64 of their own
/// (RFC 8215). The position of the IPv4 address depends on the length of the network's NAT64
/// prefix: 48, 56, 64 or 96 bits. All bytes after the IPv4 address are zero (RFC 6052, section
/// 2.2), so the length is deduced from the number of zeros at the end.
fn ipv4_of_local_nat64(ip: Ipv6Addr) -> Ipv4Addr {
    // The ninth byte is reserved. It is never a part of the IPv4 address.
    let [.., a, b, _, c, d, e, f, g, h, i] = ip.octets();
    let bytes = match [e, f, g, h, i] {
        [0, 0, 0, 0, 0] => [a, b, c, d],
        [_, 0, 0, 0, 0] => [b, c, d, e],
        [_, _, 0, 0, 0] => [c, d, e, f],
        _ => [f, g, h, i],
    };
    Ipv4Addr::from(bytes)
}

/// The IPv4 address that a DNS name contains, such as `app.192-0-2-1.example` or
/// `192.0.2.1.example`. Some DNS services resolve every such name to the address in it.
fn ipv4_in_name(name: &str) -> Option<Ipv4Addr> {
    let labels: Vec<&str> = name.trim_end_matches('.').split('.').collect();
    let dotted = labels.windows(4).map(|four| four.join("."));
    let dashed = labels.iter().map(|label| {
        let parts: Vec<&str> = label.split('-').collect();
        parts[parts.len().saturating_sub(4)..].join(".")
    });
    dotted.chain(dashed).find_map(|text| text.parse().ok())
}

/// Whether the last label of a name is a number. Resolvers read such a name as an IPv4 address
/// (`127.1`, `0x7f.1`).
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

impl From<IpAddr> for Address {
    /// Converts an address without checking its kind. It is meant for the source address of a
    /// connection, which is known to work because the peer has sent data from it.
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = Invalid;

    /// Parses an address that a registry lists. It is never empty or unspecified, because the
    /// registry has replaced such an address by the source address.
    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(ip.into()),
            Err(_) => Self::from_name(&text),
        }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_public_if_an_outsider_may_reach_it() {
        let is_public = |text: &str| Address::parse(text).unwrap().unwrap().host().is_public();
        for text in [
            "8.8.8.8",
            "192.0.1.1",
            "198.17.0.1",
            "2600::1",
            "64:ff9b::808:808",
            "peer.example.org",
            "peer.example.org.",
        ] {
            assert!(is_public(text), "{text}");
        }
        for text in [
            "10.0.0.1",
            "127.0.0.1",
            "100.64.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.0.1",
            "203.0.113.7",
            "240.0.0.1",
            "0.1.2.3",
            "fd00::1",
            "::1",
            "2001:db8::1",
            "3fff::1",
            "4000::1",
            "64:ff9b::a00:1",
            "localhost",
            "printer",
            "printer.local",
            "Peer.LOCAL.",
            "db.internal",
            "nas.home.arpa",
            "app.10-0-0-1.example.org",
        ] {
            assert!(!is_public(text), "{text}");
        }
    }

    #[test]
    fn every_form_of_an_ipv4_address_is_one_host() {
        let host = |text: &str| Address::parse(text).unwrap().unwrap().host();
        let forms = [
            "::ffff:192.0.2.1",
            "::192.0.2.1",
            "::ffff:0:192.0.2.1",
            "64:ff9b::192.0.2.1",
            "64:ff9b:1::c000:201",
            "64:ff9b:1:2:3:4:c000:201",
            "64:ff9b:1:c000:2:100::",
            "64:ff9b:1:99c0:0:201::",
            "64:ff9b:1:9999:c0:2:100:0",
            "2002:c000:201::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdfe",
            "2001:0:1:2:3:4:3fff:fdfe",
            "192.0.2.1.example",
            "app.192.0.2.1.example.",
            "192-0-2-1.example",
            "app-192-0-2-1.example",
        ];
        for form in forms {
            assert_eq!(host(form), host("192.0.2.1"), "{form}");
        }
        assert_eq!(host("Peer.Example."), host("peer.example"));
        for other in ["::1", "2001:db8::192.0.2.1", "192-0-2.example", "1-192-0-2-256.example"] {
            assert_ne!(host(other), host("192.0.2.1"), "{other}");
        }
    }

    #[test]
    fn an_address_that_hides_an_unusable_one_is_refused() {
        for text in [
            "64:ff9b::224.0.0.1",
            "64:ff9b:1:e000:0:100::",
            "2002:a9fe:1::1",
            "2001:0:1:2:3:4:5601:fefe",
            "::255.255.255.255",
            "64:ff9b::169.254.1.1",
            "64:ff9b::",
            "64:ff9b:1::",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_local_address_reaches_another_host_for_each_reader() {
        let is_local = |text: &str| Address::parse(text).unwrap().unwrap().host().is_local();
        for text in ["10.0.0.1", "172.17.0.2", "192.168.1.1", "127.0.0.1", "100.64.0.1", "fd00::1", "::1"] {
            assert!(is_local(text), "{text}");
        }
        for text in ["203.0.113.7", "100.128.0.1", "172.32.0.1", "2001:db8::1", "peer.example"] {
            assert!(!is_local(text), "{text}");
        }
    }

    #[test]
    fn addresses_of_one_host_are_kept_in_canonical_form() {
        for (given, kept) in [
            ("192.168.1.100", "192.168.1.100"),
            ("127.0.0.1", "127.0.0.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("peer.example.org", "peer.example.org"),
            ("localhost", "localhost"),
            ("_p2p.example.", "_p2p.example."),
        ] {
            assert_eq!(Address::parse(given).unwrap().unwrap().to_string(), kept);
        }
    }

    #[test]
    fn a_blank_or_unspecified_address_means_the_source() {
        for text in ["", "0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(Address::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn an_address_that_does_not_identify_one_host_is_refused() {
        let long = format!("{}.example", "a.".repeat(130));
        for text in [
            "224.0.0.1",
            "255.255.255.255",
            "169.254.1.1",
            "ff02::1",
            "fe80::1",
            "fe80::1%eth0",
            "::ffff:224.0.0.1",
            "1.2.3",
            "127.1",
            "0x7f.0x1",
            "256.1.1.1",
            "[::1]",
            "10.0.0.1:80",
            "a b",
            "-a.b",
            "a-.b",
            "a..b",
            ".",
            "é.org",
            "http://x",
            &long,
            &"a".repeat(64),
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
