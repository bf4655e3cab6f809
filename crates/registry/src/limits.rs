//! The bounds of a registry that its operator can change.

use std::ops::RangeInclusive;

use aurora_discovery_protocol::{DiscoverBounds, Order, Timestamp, Ttl};

use crate::AddressPolicy;

/// The divisor for jitter: each heartbeat interval except the first is shortened at random by up to
/// a fifth. If heartbeats of many peers fall into the same second and the interval is 100 s, the
/// next heartbeats are spread over twenty seconds. The average interval is a tenth shorter, so that
/// the number of heartbeats grows by about a tenth.
const JITTER_PART: u32 = 5;
/// The number of leases after which a peer counts as steady. Most peers that leave early have left
/// by then.
const STEADY_LEASES: u64 = 3;

/// The limits of a registry. If the reason for a default is not obvious, the documentation of the
/// field gives it.
///
/// Bounds of the API that an operator cannot change, such as the length of a peer id, are constants
/// of the types that they apply to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum number of peers, live and dormant. Two million peers take little more than a
    /// gigabyte of memory.
    pub max_peers: u64,
    /// The maximum total size of all registrations in bytes, so that large registrations cannot
    /// take the space that was planned for many small ones.
    pub max_bytes: u64,
    /// The maximum number of live peers from one source. It is enough for a household or a small
    /// cluster, but one machine cannot fill the registry. Loopback is exempt, because programs on
    /// the service's own machine are trusted. The same number bounds the peers that one source
    /// keeps alive by unproven heartbeats.
    ///
    /// For this limit and the next four, 0 means no limit. An operator needs that, for example, if
    /// all clients of the service come from one proxy.
    pub max_peers_per_source: u32,
    /// The maximum number of live peers from one network: an IPv4 /24 or an IPv6 /56. A provider
    /// assigns an IPv6 subscriber up to 256 sources.
    pub max_peers_per_network: u32,
    /// The maximum number of live peers from one IPv6 /48. One site, or one rented server, is
    /// assigned up to 65,536 sources.
    pub max_peers_per_site: u32,
    /// The maximum number of live peers that may publish the same address and port without coming
    /// from that address. Without this limit, one client could register many peers with the address
    /// of a victim, and the whole network would then contact the victim. Peers with a local address
    /// or with port 0 are not counted.
    pub max_peers_per_address: u32,
    /// The maximum number of live peers that may publish the same address, whatever the port,
    /// without coming from it. The peers of one source may use half of this limit, and half of
    /// `max_peers_per_address`.
    pub max_peers_per_host: u32,
    /// The maximum number of archetypes of one peer. The API allows at most 32, even if this is
    /// higher. Each costs two write units on a DynamoDB table.
    pub max_archetypes_per_peer: u32,
    /// The maximum number of different archetypes of live peers, because each one takes memory.
    pub max_archetypes: u32,
    /// The duration of a lease if the peer requests none: `PeerTTLMinutes` of the original service.
    pub ttl_default: Ttl,
    /// The minimum duration of a lease. With shorter leases, heartbeats would cost more than
    /// discovery.
    pub ttl_min: Ttl,
    /// The maximum duration of a lease. A failed peer remains listed for up to this time, or for up
    /// to a third longer if the store extends leases.
    pub ttl_max: Ttl,
    /// How long after the end of its lease a heartbeat revives a peer, in milliseconds. The default
    /// covers a laptop that sleeps overnight. A peer whose name is locked by a signature can
    /// instead be revived until the lock ends.
    pub revival_window_millis: u64,
    /// The maximum heartbeat interval that the service requests, in seconds. The default is well
    /// below 300 s: legacy clients drop a peer whose `last_seen` is more than 300 s old, and
    /// network delays add to the interval.
    pub heartbeat_interval_max_seconds: u32,
    /// The minimum heartbeat interval after jitter, in seconds, so that an operator knows the
    /// maximum rate of heartbeats. If a third of a lease is shorter than this, the interval is a
    /// third of the lease.
    pub heartbeat_interval_min_seconds: u32,
    /// The bounds of `limit` for `/discover`, and its default order.
    pub discover: DiscoverBounds,
    /// The bounds of `limit` and the default order for a `discover` key in another request, whose
    /// sender expects a small response.
    pub inline_discover: DiscoverBounds,
    /// The maximum size of the peers in one page, in bytes. API Gateway and Lambda allow 6 MB, but
    /// clients should not need that much memory.
    pub page_bytes: usize,
    /// The maximum cost of a page in read units, for a store whose provider bills each read. If a
    /// request also changes peers, its changes and its page share this cost, so that the page may
    /// be smaller than `page_bytes`; see [`Limits::page_bytes_beside`]. `None` if reads are not
    /// billed.
    pub page_read_units: Option<u32>,
    /// The maximum number of changes in the change log. If a network has one million peers, and a
    /// tenth of them is replaced every five minutes, there are 670 changes per second: one when a
    /// peer leaves, and one when another joins. The default then covers a minute and a half, which
    /// is three times as long as a stalled watcher may stay connected.
    pub max_changes: usize,
    /// The maximum size of the change log in bytes. It is enough for `max_changes` peers of the
    /// size that legacy clients publish. If the peers are larger, the log holds fewer changes.
    pub max_changes_bytes: usize,
    /// Which addresses peers may publish. Any by default, because many networks are private.
    pub addresses: AddressPolicy,
    /// Whether the holder rule applies: only the holder may change a live registration.
    pub holder_rule: bool,
    /// What the signatures of registrations mean.
    pub signatures: SignaturePolicy,
    /// The name of the service. A signed registration may name the only service that may accept it.
    /// If this is `None`, all such registrations are refused, unless signatures are ignored.
    pub audience: Option<String>,
}

/// What the signatures of registrations mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignaturePolicy {
    /// Signatures have no effect. Signed registrations are treated as unsigned ones, and locks are
    /// ignored.
    Open,
    /// A signature locks the name to its key. Names that are not locked can be registered without a
    /// signature, unless the name is itself a key.
    #[default]
    SignedPreferred,
    /// A signature locks the name to its key, and registrations without a signature are refused.
    SignedOnly,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_peers: 2_000_000,
            max_bytes: 2 << 30,
            max_peers_per_source: 1_024,
            max_peers_per_network: 4_096,
            max_peers_per_site: 16_384,
            max_peers_per_address: 64,
            max_peers_per_host: 1_024,
            max_archetypes_per_peer: 32,
            max_archetypes: 1_000_000,
            ttl_default: Ttl::from_secs(300),
            ttl_min: Ttl::from_secs(30),
            ttl_max: Ttl::from_secs(3_600),
            revival_window_millis: 24 * 3_600 * 1_000,
            heartbeat_interval_max_seconds: 200,
            heartbeat_interval_min_seconds: 10,
            discover: DiscoverBounds::new(1_000, 1_000),
            inline_discover: DiscoverBounds::new(20, 100),
            page_bytes: 1 << 20,
            page_read_units: None,
            max_changes: 65_536,
            max_changes_bytes: 24 << 20,
            addresses: AddressPolicy::Any,
            holder_rule: true,
            signatures: SignaturePolicy::SignedPreferred,
            audience: None,
        }
    }
}

/// Two limits that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLimits(String);

/// What a request writes, if its response also contains a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// The renewal of this many leases. 0 if the request writes nothing.
    Renewals(usize),
    /// A registration.
    Registration,
}

/// The number of renewals that a registration counts as, when the registration and a page share the
/// permitted cost of one request. It is high because of DynamoDB: a registration there that
/// replaces all archetypes of a peer uses most of that cost.
const REGISTRATION_AS_RENEWALS: usize = 16;

impl Limits {
    /// The maximum size of a page in the response to a request that also makes these writes, in
    /// bytes. If reads are billed, the page and the writes share the permitted cost of the request.
    pub fn page_bytes_beside(&self, writes: Writes) -> usize {
        let share = match writes {
            Writes::Renewals(leases) => leases.max(1),
            Writes::Registration => REGISTRATION_AS_RENEWALS,
        };
        if self.page_read_units.is_some() { self.page_bytes / share } else { self.page_bytes }
    }

    /// Checks that the limits are consistent.
    ///
    /// # Errors
    /// [`InvalidLimits`] describes the contradiction.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let Self { ttl_min, ttl_default, ttl_max, discover, inline_discover, .. } = self;
        if ttl_min.as_secs() == 0 || ttl_min > ttl_max {
            return Err(InvalidLimits(format!(
                "the minimum lease ({} s) must be at least 1 s and at most the maximum lease ({} s)",
                ttl_min.as_secs(),
                ttl_max.as_secs()
            )));
        }
        if !(ttl_min..=ttl_max).contains(&ttl_default) {
            return Err(InvalidLimits(format!(
                "the default lease ({} s) must be between the minimum lease ({} s) and the maximum lease ({} s)",
                ttl_default.as_secs(),
                ttl_min.as_secs(),
                ttl_max.as_secs()
            )));
        }
        let (min, max) = (self.heartbeat_interval_min_seconds, self.heartbeat_interval_max_seconds);
        if min > max {
            return Err(InvalidLimits(format!(
                "the minimum heartbeat interval ({min} s) must be at most the maximum interval ({max} s)"
            )));
        }
        for bounds in [discover, inline_discover] {
            if !(1..=bounds.max).contains(&bounds.default) {
                return Err(InvalidLimits(format!(
                    "the default of the limit parameter ({}) must be from 1 to {}",
                    bounds.default, bounds.max
                )));
            }
            if bounds.order == Order::All {
                return Err(InvalidLimits("the default order must be sample or diverse".to_owned()));
            }
        }
        Ok(())
    }

    /// The time from a registration to the first heartbeat, in seconds: a third of the lease, so
    /// that the lease survives a lost heartbeat. It is at least 1 s, and at most
    /// `heartbeat_interval_max_seconds`.
    pub fn heartbeat_interval_seconds(&self, ttl: Ttl) -> u32 {
        (ttl.as_secs() / 3).clamp(1, self.heartbeat_interval_max_seconds.max(1))
    }

    /// The range from which the interval to each further heartbeat is drawn, in seconds. Each
    /// interval is drawn independently. If many peers come back in the same second after a restart,
    /// their heartbeats therefore soon spread out.
    ///
    /// The interval of a peer that is not steady is at most a third of the lease. A steady peer has
    /// shown that its heartbeats arrive, so its interval may be almost half of the lease. Two whole
    /// intervals then fit into the lease, so that one heartbeat may be lost.
    pub fn heartbeat_cadence(&self, ttl: Ttl, steady: bool) -> RangeInclusive<u32> {
        // `ttl - 1` makes two intervals end strictly before the lease does, even if `ttl` is even.
        // Jitter only shortens the interval, so that `latest` remains a safe upper bound. The
        // operator's minimum applies after jitter, but never extends the interval beyond a third of
        // the lease.
        let third = self.heartbeat_interval_seconds(ttl);
        let half = (ttl.as_secs().saturating_sub(1) / 2).min(self.heartbeat_interval_max_seconds);
        let latest = if steady { third.max(half) } else { third };
        let bound = self.heartbeat_interval_min_seconds.min(third);
        (latest - latest / JITTER_PART).max(bound)..=latest
    }

    /// Whether a live peer is steady: it registered at least three lease durations ago.
    pub fn is_steady(ttl: Ttl, registered_at: Timestamp, now: Timestamp) -> bool {
        now.millis_since(registered_at) >= STEADY_LEASES * ttl.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_interval_is_a_third_of_the_lease_up_to_a_maximum() {
        let limits = Limits::default();
        for (ttl, interval) in [(300, 100), (30, 10), (3_600, 200), (1, 1)] {
            assert_eq!(limits.heartbeat_interval_seconds(Ttl::from_secs(ttl)), interval);
        }
    }

    #[test]
    fn jitter_shortens_the_interval_by_up_to_a_fifth_but_not_below_the_minimum() {
        let limits = Limits::default();
        for (ttl, cadence) in [(300, 80..=100), (45, 12..=15), (30, 10..=10), (3_600, 160..=200), (1, 1..=1)]
        {
            assert_eq!(limits.heartbeat_cadence(Ttl::from_secs(ttl), false), cadence, "{ttl}");
        }
        let bounded = Limits { heartbeat_interval_min_seconds: 95, ..limits };
        assert_eq!(bounded.heartbeat_cadence(Ttl::from_secs(300), false), 95..=100);
        assert_eq!(bounded.heartbeat_cadence(Ttl::from_secs(60), false), 20..=20);
    }

    #[test]
    fn two_intervals_of_a_steady_peer_fit_into_its_lease() {
        let limits = Limits::default();
        for (ttl, cadence) in [(300, 120..=149), (60, 24..=29), (600, 160..=200), (1, 1..=1), (0, 1..=1)] {
            assert_eq!(limits.heartbeat_cadence(Ttl::from_secs(ttl), true), cadence, "{ttl}");
        }
        for ttl in 3..=3_600 {
            let steady = limits.heartbeat_cadence(Ttl::from_secs(ttl), true);
            assert!(
                2 * steady.end() < ttl && *steady.end() <= 200 && !steady.is_empty(),
                "{ttl}: {steady:?}"
            );
        }
        let (ttl, registered) = (Ttl::from_secs(300), Timestamp::from_secs(10_000));
        assert!(!Limits::is_steady(ttl, registered, Timestamp::from_secs(10_899)));
        assert!(Limits::is_steady(ttl, registered, Timestamp::from_secs(10_900)));
    }

    #[test]
    fn contradictory_limits_are_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let short = Limits { ttl_default: Ttl::from_secs(10), ..Limits::default() };
        assert!(short.check().unwrap_err().to_string().contains("default lease (10 s)"));
        let none = Limits { ttl_min: Ttl::from_secs(0), ..Limits::default() };
        assert!(none.check().is_err());
        let intervals = Limits { heartbeat_interval_min_seconds: 201, ..Limits::default() };
        assert!(intervals.check().unwrap_err().to_string().contains("minimum heartbeat interval"));
        let page = Limits { discover: DiscoverBounds::new(0, 10), ..Limits::default() };
        assert!(page.check().is_err());
        let discover = DiscoverBounds { order: Order::All, ..DiscoverBounds::new(10, 10) };
        let order = Limits { discover, ..Limits::default() };
        assert!(order.check().unwrap_err().to_string().contains("sample or diverse"));
    }
}
