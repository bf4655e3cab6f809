//! Groups of clients. The clients of a group share a limit, because one party may control all of
//! them.

use aurora_discovery_registry::{Network, Source};

/// A source or one of its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// An IPv4 address or an IPv6 /64.
    Source(Source),
    /// An IPv4 /24, an IPv6 /56 or an IPv6 /48, in which one client may have many addresses.
    Network(Network),
}

impl Group {
    /// The groups that `source` belongs to, the smallest first.
    pub(crate) fn all_of(source: Source) -> impl Iterator<Item = Self> {
        let networks = [Some(source.network()), source.site()].into_iter().flatten();
        std::iter::once(Self::Source(source)).chain(networks.map(Self::Network))
    }

    /// The denominator of the largest share of a resource that the group may have: 8 means one
    /// eighth. For a `SourceBudget`, it is a share of what is left of the resource.
    pub(crate) fn fraction(self) -> usize {
        match self {
            Self::Source(_) => 8,
            Self::Network(Network::V4(_) | Network::V6Subscriber(_)) => 4,
            Self::Network(Network::V6Site(_)) => 2,
        }
    }
}
