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
/// service's own machine are trusted, and a proxy there may forward the requests of all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// All requests to paths of the API, except heartbeats and health checks. A source with the
    /// default maximum of 1,024 peers that discover every ten seconds needs half of the default
    /// rate.
    pub requests: Rate,
    /// Heartbeats. They have buckets of their own, so that a source that sends too many other
    /// requests can still renew its leases. In a heartbeat for several peers each peer counts,
    /// because it costs as much as a heartbeat of its own.
    pub heartbeats: Rate,
    /// The rate and burst of a network, as a multiple of those of a source. A network is an IPv4
    /// /24 or an IPv6 /56. With 0, networks are not limited. The default is the ratio of two limits
    /// of the registry, the defaults of `max_peers_per_network` and `max_peers_per_source`.
    pub network_factor: u32,
    /// The same for a site, which is an IPv6 /48. The default is the ratio of the defaults of
    /// `max_peers_per_site` and `max_peers_per_source`.
    pub site_factor: u32,
}

/// The size of a token bucket, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second in the long run. With 0, requests are not limited.
    pub per_second: u32,
    /// The number of requests that are accepted at once, after a pause. 0 counts as 1.
    pub burst: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        // The burst lets all peers of a source register within seconds after a restart.
        let rate = Rate { per_second: 200, burst: 2_000 };
        Self { requests: rate, heartbeats: rate, network_factor: 4, site_factor: 16 }
    }
}

/// Pages of peers are limited by their size. A source may get this many kilobytes of pages for each
/// request that its rate permits. This is half of a page with the default maximum of peers. The
/// bucket holds only what a source gets in one second, although the bucket of requests holds more:
/// a burst of large pages would keep the service busy for seconds.
const PAGE_KILOBYTES_PER_REQUEST: u32 = 100;

/// The buckets that a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    Requests,
    Heartbeats,
    /// Requests that are always served, such as health checks and requests for unknown paths.
    /// Beyond the rate, their responses are delayed.
    Others,
    /// The size of responses in kilobytes, before compression. Pages of peers account for most of
    /// it.
    Pages,
    /// New connections, and work that a connection causes without a request that reaches the
    /// service.
    Connections,
    /// Messages to other peers.
    Mail,
}

/// How many messages a source may send: sixteen times as many as one peer (`MAIL_PER_MINUTE`),
/// because many peers may run in one household, in one office or on one machine.
const MAIL: Rate = Rate { per_second: 8, burst: 480 };
/// How many messages a peer may send in a minute. It needs two for each peer that it connects to.
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
    /// The messages of each sending peer, from all its addresses together.
    senders: Buckets<PeerId>,
}

impl RateLimits {
    /// The rate of pages, in kilobytes.
    fn pages(&self) -> Rate {
        let per_second = self.requests.per_second.saturating_mul(PAGE_KILOBYTES_PER_REQUEST);
        Rate { per_second, burst: per_second }
    }

    /// The rate of new connections: that of requests and heartbeats together, because some clients
    /// open a connection for each request.
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
    /// Buckets of these sizes. With `None`, only the messages of each sender are limited.
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

    /// Takes `count` tokens from the buckets of `address` and its networks. If there are too few,
    /// fails with a 429 that says how long to wait. A request that stands for several has a `count`
    /// above one.
    pub(crate) fn take(&self, charge: Charge, address: IpAddr, count: usize) -> Result<(), Failure> {
        let (Some((limiter, source)), Some(count)) =
            (self.limiter(charge, address), u32::try_from(count).ok().and_then(NonZeroU32::new))
        else {
            return Ok(());
        };
        limiter.take(source, count).map_err(Failure::rate_limited)
    }

    /// Takes a token for a message. This is called only after the sender has proved who it is, so
    /// that no other client can use up the sender's rate.
    pub(crate) fn send_mail(&self, sender: &PeerId) -> Result<(), Failure> {
        self.senders.take(sender, NonZeroU32::MIN).map_err(|wait| Failure {
            refusal: Refusal::new(
                Code::RateLimited,
                "a peer may send 30 messages a minute; wait for Retry-After seconds",
            ),
            ..Failure::rate_limited(wait)
        })
    }

    /// Takes tokens for work that has turned out to cost more than was taken for it. Missing tokens
    /// become a debt: later requests are refused until the bucket has refilled enough to cover it.
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

    /// Removes the buckets that are full again, so that memory holds only those of sources that
    /// were active a moment ago.
    pub(crate) fn forget_idle_sources(&self) {
        let Self { requests, heartbeats, others, pages, connections, mail, senders } = self;
        senders.forget_idle();
        [requests, heartbeats, others, pages, connections, mail]
            .into_iter()
            .flatten()
            .for_each(Limiter::forget_idle);
    }
}

/// The buckets for one [`Charge`]: those of all sources, networks and sites.
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
