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

use aurora_discovery_protocol::{Code, PeerId, Refusal};
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

/// How many kilobytes of pages a source gets for each request of its rate, on average, and in one
/// second: half of a page of the default maximum. A burst of requests for small pages costs the
/// service little, but one for large pages would keep it busy for seconds.
const PAGE_KILOBYTES_PER_REQUEST: u32 = 100;

/// What a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    Requests,
    Heartbeats,
    /// Requests that are always served, such as health checks and requests for unknown paths.
    Others,
    /// Pages, in kilobytes before compression.
    Pages,
    /// New connections, and what a connection costs without a request.
    Connections,
    /// Messages to other peers.
    Mail,
}

/// How many messages a source may send: sixteen times as many as a sender, because a household, an
/// office or a machine may have many.
const MAIL: Rate = Rate { per_second: 8, burst: 480 };
/// How many messages a sender may send in a minute. It needs two for each peer that it connects to.
const MAIL_PER_MINUTE: u32 = 30;

/// The buckets of all sources.
#[derive(Debug)]
pub(crate) struct Rates {
    requests: Option<Limiter>,
    heartbeats: Option<Limiter>,
    others: Option<Limiter>,
    pages: Option<Limiter>,
    connections: Option<Limiter>,
    mail: Option<Limiter>,
    /// The messages of each sender, however many addresses it sends them from.
    senders: Buckets<PeerId>,
}

impl RateLimits {
    fn pages(&self) -> Rate {
        let per_second = self.requests.per_second.saturating_mul(PAGE_KILOBYTES_PER_REQUEST);
        Rate { per_second, burst: per_second }
    }

    /// A client that keeps no connection opens one for each request.
    fn connections(&self) -> Rate {
        let Self { requests, heartbeats, .. } = self;
        if requests.per_second == 0 || heartbeats.per_second == 0 {
            return Rate { per_second: 0, burst: 0 };
        }
        Rate {
            per_second: requests.per_second.saturating_add(heartbeats.per_second),
            burst: requests.burst.saturating_add(heartbeats.burst),
        }
    }
}

impl Rates {
    /// Buckets of these sizes; without limits, none.
    pub(crate) fn new(limits: Option<RateLimits>) -> Self {
        let limiter = |rate: fn(&RateLimits) -> Rate| {
            limits.as_ref().and_then(|limits| Limiter::new(rate(limits), limits))
        };
        Self {
            requests: limiter(|limits| limits.requests),
            heartbeats: limiter(|limits| limits.heartbeats),
            others: limiter(|limits| limits.requests),
            pages: limiter(RateLimits::pages),
            connections: limiter(RateLimits::connections),
            mail: limiter(|_| MAIL),
            senders: Buckets::per_minute(MAIL_PER_MINUTE),
        }
    }

    /// Counts requests from `address`; an error if there are too many. `count` is more than one for
    /// a request that stands for several.
    pub(crate) fn take(&self, charge: Charge, address: IpAddr, count: usize) -> Result<(), Failure> {
        let (Some((limiter, source)), Some(count)) =
            (self.limiter(charge, address), u32::try_from(count).ok().and_then(NonZeroU32::new))
        else {
            return Ok(());
        };
        limiter.take(source, count).map_err(Failure::rate_limited)
    }

    /// Counts a message of a sender that has proved itself, so that no other client uses up its rate.
    pub(crate) fn send_mail(&self, sender: &PeerId) -> Result<(), Failure> {
        self.senders.take(sender, NonZeroU32::MIN).map_err(|wait| Failure {
            refusal: Refusal::new(
                Code::RateLimited,
                "a peer may send 30 messages a minute; wait for Retry-After seconds",
            ),
            ..Failure::rate_limited(wait)
        })
    }

    /// Counts what turned out to cost more than was taken. Later requests wait until it is paid.
    pub(crate) fn charge(&self, charge: Charge, address: IpAddr, count: usize) {
        if let Some((limiter, source)) = self.limiter(charge, address) {
            limiter.charge(source, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// The limiter for requests from `address`, if they are limited.
    fn limiter(&self, charge: Charge, address: IpAddr) -> Option<(&Limiter, Source)> {
        let limiter = match charge {
            Charge::Requests => &self.requests,
            Charge::Heartbeats => &self.heartbeats,
            Charge::Others => &self.others,
            Charge::Pages => &self.pages,
            Charge::Connections => &self.connections,
            Charge::Mail => &self.mail,
        };
        let source = Source::of(address);
        limiter.as_ref().filter(|_| !source.is_loopback()).map(|limiter| (limiter, source))
    }

    /// Removes the buckets that are full again, so that their number depends on the sources of the
    /// last moments only.
    pub(crate) fn forget_idle_sources(&self) {
        let Self { requests, heartbeats, others, pages, connections, mail, senders } = self;
        senders.forget_idle();
        [requests, heartbeats, others, pages, connections, mail]
            .into_iter()
            .flatten()
            .for_each(Limiter::forget_idle);
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

    /// Takes tokens that may become a debt of the source and of its networks.
    fn charge(&self, source: Source, count: u32) {
        self.sources.charge(&source, count);
        self.networks.iter().for_each(|networks| networks.charge(&source.network(), count));
        if let (Some(sites), Some(site)) = (&self.sites, source.site()) {
            sites.charge(&site, count);
        }
    }

    fn forget_idle(&self) {
        self.sources.forget_idle();
        self.networks.iter().chain(&self.sites).for_each(Buckets::forget_idle);
    }
}
