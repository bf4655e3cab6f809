//! Which addresses peers may publish.

use std::net::IpAddr;
use std::str::FromStr;
use std::{error, fmt};

use aurora_discovery_protocol::Address;

use crate::Error;

/// Which addresses the operator lets peers publish. The policy applies to new registrations only.
/// Addresses that are already stored stay listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Any address of one host.
    #[default]
    Any,
    /// Only addresses that a host in another network may reach. This is for a network of peers that
    /// spans the internet: a private address refers to a different host in each local network.
    Public,
    /// Only the address that the registration came from. An address in the registration is ignored.
    /// A peer therefore cannot publish the address of a victim, which the other peers would then
    /// contact.
    Observed,
}

impl AddressPolicy {
    /// All policies.
    pub const ALL: [Self; 3] = [Self::Any, Self::Public, Self::Observed];

    /// The address to list. `published` is the address in the registration, and `source` is the
    /// address that the registration came from.
    ///
    /// # Errors
    /// [`Error::SourceIsLinkLocal`] if `source` would be listed but is link-local, and
    /// [`Error::AddressNotPublic`] if the policy requires a public address.
    pub(crate) fn address(self, published: Option<Address>, source: IpAddr) -> Result<Address, Error> {
        let published = published.filter(|_| self != Self::Observed);
        let address = match published {
            Some(address) => address,
            None => Address::from_ip(source).map_err(|_| Error::SourceIsLinkLocal)?,
        };
        match self {
            Self::Public if !address.host().is_public() => Err(Error::AddressNotPublic),
            Self::Any | Self::Public | Self::Observed => Ok(address),
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Public => "public",
            Self::Observed => "observed",
        }
    }
}

impl fmt::Display for AddressPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error for a text that is not the name of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicy;

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be any, public or observed")
    }
}

impl error::Error for UnknownPolicy {}

impl FromStr for AddressPolicy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or(UnknownPolicy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(policy: AddressPolicy, published: &str, source: &str) -> Result<String, Error> {
        let published = Address::parse(published).unwrap();
        policy.address(published, source.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn any_address_is_listed_by_default() {
        let policy = AddressPolicy::default();
        assert_eq!(listed(policy, "10.0.0.1", "8.8.8.8"), Ok("10.0.0.1".to_owned()));
        assert_eq!(listed(policy, "", "10.0.0.2"), Ok("10.0.0.2".to_owned()));
        assert_eq!(listed(policy, "", "fe80::1"), Err(Error::SourceIsLinkLocal));
    }

    #[test]
    fn a_public_network_refuses_addresses_that_no_outsider_reaches() {
        let policy = AddressPolicy::Public;
        assert_eq!(listed(policy, "9.9.9.9", "10.0.0.2"), Ok("9.9.9.9".to_owned()));
        assert_eq!(listed(policy, "", "8.8.8.8"), Ok("8.8.8.8".to_owned()));
        for (published, source) in [("10.0.0.1", "8.8.8.8"), ("printer.local", "8.8.8.8"), ("", "10.0.0.2")] {
            assert_eq!(listed(policy, published, source), Err(Error::AddressNotPublic), "{published}");
        }
    }

    #[test]
    fn a_network_of_observed_addresses_ignores_what_peers_publish() {
        let policy = AddressPolicy::Observed;
        for published in ["9.9.9.9", "victim.example.org", "10.0.0.1", ""] {
            assert_eq!(listed(policy, published, "::ffff:8.8.8.8"), Ok("8.8.8.8".to_owned()));
        }
        assert_eq!(listed(policy, "9.9.9.9", "fe80::1"), Err(Error::SourceIsLinkLocal));
    }

    #[test]
    fn a_policy_is_read_by_its_name() {
        for policy in AddressPolicy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!("private".parse::<AddressPolicy>(), Err(UnknownPolicy));
    }
}
