//! A range of source addresses that an operator names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The shortest prefixes that are accepted, in bits. A shorter one would cover so many addresses
/// that it is probably a typing error.
const MIN_V4_BITS: u8 = 8;
const MIN_V6_BITS: u8 = 16;
/// The longest prefixes that are accepted, in bits: a single IPv4 address, and an IPv6 /64, which
/// the registry treats as one source.
const MAX_V4_BITS: u8 = 32;
const MAX_V6_BITS: u8 = 64;

/// A prefix of source addresses, such as `203.0.113.0/24` or `2001:db8::/48`. Without a length, an
/// IPv4 address means itself, and an IPv6 address means its /64. The registry treats each of these
/// as one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourcePrefix {
    /// The first address of the range.
    network: IpAddr,
    bits: u8,
}

impl SourcePrefix {
    /// Parses an address, or an address, a slash and a length in bits.
    ///
    /// # Errors
    /// [`Invalid`] for other texts, for lengths that are too short or too long, and for addresses
    /// with bits that are not zero after the prefix.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const FORM: Invalid =
            Invalid::rule("must be an IP address or a prefix such as 203.0.113.0/24 or 2001:db8::/48");
        let (address, length) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| FORM)?.to_canonical();
        let (min, max) = match address {
            IpAddr::V4(_) => (MIN_V4_BITS, MAX_V4_BITS),
            IpAddr::V6(_) => (MIN_V6_BITS, MAX_V6_BITS),
        };
        let Some(length) = length else { return Ok(Self { network: masked(address, max), bits: max }) };
        let bits = length.parse().map_err(|_| FORM)?;
        if !(min..=max).contains(&bits) {
            return Err(Invalid(format!("must have a prefix of {min} to {max} bits").into()));
        }
        if masked(address, bits) != address {
            return Err(Invalid(format!("must end with zeros after its {bits} bits").into()));
        }
        Ok(Self { network: address, bits })
    }

    /// Whether an address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.network.is_ipv4() && masked(address, self.bits) == self.network
    }
}

/// The address with all bits after the first `bits` set to zero.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::from(MAX_V4_BITS - bits)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - bits)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for SourcePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.bits)
    }
}

impl TryFrom<String> for SourcePrefix {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<SourcePrefix> for String {
    fn from(prefix: SourcePrefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(prefix: &str, address: &str) -> bool {
        SourcePrefix::parse(prefix).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_prefix_contains_its_addresses_only() {
        assert!(contains("203.0.113.0/24", "203.0.113.255") && !contains("203.0.113.0/24", "203.0.114.0"));
        assert!(contains("203.0.113.7", "203.0.113.7") && !contains("203.0.113.7", "203.0.113.6"));
        assert!(
            contains("203.0.113.7", "::ffff:203.0.113.7") && contains("::ffff:203.0.113.7", "203.0.113.7")
        );
        assert!(contains("2001:db8::1", "2001:db8::2") && !contains("2001:db8::1", "2001:db8:0:1::1"));
        assert!(contains("2001:db8::/32", "2001:db8:ffff::") && !contains("2001:db8::/32", "2001:db9::"));
        assert!(!contains("32.1.0.0/16", "2001::") && !contains("2001::/16", "32.1.0.0"));
    }

    #[test]
    fn a_prefix_is_written_with_its_length() {
        for (text, written) in [
            ("203.0.113.7", "203.0.113.7/32"),
            ("2001:db8::1", "2001:db8::/64"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let prefix = SourcePrefix::parse(text).unwrap();
            assert_eq!(prefix.to_string(), written);
            assert_eq!(SourcePrefix::parse(written).unwrap(), prefix);
        }
    }

    #[test]
    fn a_prefix_that_is_probably_a_mistake_is_refused() {
        for (text, rule) in [
            ("0.0.0.0/0", "8 to 32 bits"),
            ("10.0.0.0/7", "8 to 32 bits"),
            ("10.0.0.0/33", "8 to 32 bits"),
            ("2001:db8::/65", "16 to 64 bits"),
            ("203.0.113.7/24", "zeros after its 24 bits"),
            ("203.0.113.0/x", "such as"),
            ("203.0.113.0/", "such as"),
            ("host.example", "such as"),
            ("", "such as"),
        ] {
            let error = SourcePrefix::parse(text).unwrap_err().to_string();
            assert!(error.contains(rule), "{text}: {error}");
        }
    }
}
