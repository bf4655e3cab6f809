//! The rates of the sources: token buckets for the requests of each source and of its networks.
//!
//! tower's rate limit counts all clients together, and layers that count per client each box a
//! future for every request.

pub(crate) mod bucket;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use aurora_discovery_registry::{Network, Source};

use crate::error::Failure;
use bucket::Buckets;

/// How many requests a source and its networks may send.
///
/// A source is an IPv4 address or an IPv6 /64. Loopback addresses are exempt: programs on the
/// service's own machine are trusted, and a proxy there forwards the requests of all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// All requests except heartbeats and health checks. A source with the default maximum of
    /// 1,024 peers that discover every ten seconds needs half of the default rate.
    pub requests: Rate,
    /// Heartbeats. They have buckets of their own, so that no discover costs a peer its lease. Each
    /// peer of a heartbeat for many counts, because it costs as much as a heartbeat of its own.
    pub heartbeats: Rate,
    /// How many times the rate and burst of a source its network has: an IPv4 /24 or an IPv6 /56.
    /// With 0, networks are not limited. The default is that of `max_peers_per_network`.
    pub network_factor: u32,
    /// The same for an IPv6 /48. The default is that of `max_peers_per_site`.
    pub site_factor: u32,
}

/// The size of a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second in the long run. With 0, they are not limited.
    pub per_second: u32,
    /// Requests at once, after a pause. A source may always send one.
    pub burst: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        // The burst lets all peers of a source register within seconds after a restart.
        let rate = Rate { per_second: 200, burst: 2_000 };
        Self { requests: rate, heartbeats: rate, network_factor: 4, site_factor: 16 }
    }
}

/// What a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    Requests,
    Heartbeats,
}

/// The buckets of all sources.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Option<Limiter>,
    heartbeats: Option<Limiter>,
}

impl Rates {
    /// Buckets of these sizes; without limits, none.
    pub(crate) fn new(limits: Option<RateLimits>) -> Self {
        let limiter = |rate: fn(&RateLimits) -> Rate| {
            limits.as_ref().and_then(|limits| Limiter::new(rate(limits), limits))
        };
        Self { requests: limiter(|limits| limits.requests), heartbeats: limiter(|limits| limits.heartbeats) }
    }

    /// Counts requests from `address`; an error if there are too many. `count` is more than one for
    /// a request that stands for several.
    pub(crate) fn take(&self, charge: Charge, address: IpAddr, count: usize) -> Result<(), Failure> {
        let limiter = match charge {
            Charge::Requests => &self.requests,
            Charge::Heartbeats => &self.heartbeats,
        };
        let (Some(limiter), Some(count)) = (limiter, u32::try_from(count).ok().and_then(NonZeroU32::new))
        else {
            return Ok(());
        };
        let source = Source::of(address);
        if source.is_loopback() {
            return Ok(());
        }
        limiter.take(source, count).map_err(Failure::rate_limited)
    }

    /// Removes the buckets that are full again, so that their number depends on the sources of the
    /// last moments only.
    pub(crate) fn forget_idle_sources(&self) {
        self.requests.iter().chain(&self.heartbeats).for_each(Limiter::forget_idle);
    }
}

/// The buckets for one kind of requests.
#[derive(Debug)]
struct Limiter {
    sources: Buckets<Source>,
    networks: Option<Buckets<Network>>,
    sites: Option<Buckets<Network>>,
}

impl Limiter {
    fn new(rate: Rate, limits: &RateLimits) -> Option<Self> {
        Some(Self {
            sources: Buckets::new(rate, 1)?,
            networks: Buckets::new(rate, limits.network_factor),
            sites: Buckets::new(rate, limits.site_factor),
        })
    }

    /// Takes tokens from the buckets of a source and of its networks, or returns how long to wait.
    fn take(&self, source: Source, count: NonZeroU32) -> Result<(), Duration> {
        // The source comes first: what it sends beyond its own rate must not count against its
        // neighbours.
        self.sources.take(&source, count)?;
        if let Some(networks) = &self.networks {
            networks.take(&source.network(), count)?;
        }
        match (&self.sites, source.site()) {
            (Some(sites), Some(site)) => sites.take(&site, count),
            _ => Ok(()),
        }
    }

    fn forget_idle(&self) {
        self.sources.forget_idle();
        self.networks.iter().chain(&self.sites).for_each(Buckets::forget_idle);
    }
}
