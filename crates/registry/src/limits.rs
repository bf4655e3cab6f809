//! Every bound of a registry that its operator may move, in one place.

use std::ops::RangeInclusive;

use aurora_protocol::{DiscoverBounds, Timestamp, Ttl};

/// By up to this part of itself an interval of heartbeats is drawn shorter: a fifth spreads a second's crowd over twenty, and costs a tenth
/// more heartbeats.
const JITTER_PART: u32 = 5;
/// After so many leases a peer counts as steady: most peers that leave soon have left by then.
const STEADY_LEASES: u64 = 3;

/// What a registry holds, grants and answers at most, with the reason for each default beside it.
///
/// The bounds of the contract that nobody may move (a peer's id, a body) stand with the types that they bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most peers, live and dormant. Two million take little more than a gigabyte of memory.
    pub max_peers: u64,
    /// Most bytes that all registrations may take, so that large ones can't fill what many small ones were planned for.
    pub max_bytes: u64,
    /// Most live peers from one source: a household or a small cluster fits, one machine can't fill the registry.
    /// Loopback is exempt: who runs on the service's own machine is trusted.
    pub max_peers_per_source: u32,
    /// Most live peers that may publish one address and port that they did not come from, so that a network can't be
    /// pointed at a victim.
    pub max_peers_per_address: u32,
    /// Most different archetypes that live peers carry: each costs memory of its own.
    pub max_archetypes: u32,
    /// The lease where the peer asks for none: the seed's `PeerTTLMinutes`.
    pub ttl_default: Ttl,
    /// The shortest lease: below it heartbeats cost more than discovery.
    pub ttl_min: Ttl,
    /// The longest lease: a peer that died is listed for this long.
    pub ttl_max: Ttl,
    /// How long a heartbeat still revives a peer whose lease has ended, in milliseconds: a laptop sleeps overnight.
    pub revival_window_millis: u64,
    /// The longest interval of heartbeats that the service asks for, in seconds. Today's clients drop a peer whose
    /// `last_seen` is over 300 s old, and a renewal may be as late as its sender's network.
    pub heartbeat_interval_max_seconds: u32,
    /// The shortest interval that jitter makes of it, in seconds, so that an operator knows the most heartbeats that may come. A lease so
    /// short that a third of it is less asks for a third all the same.
    pub heartbeat_interval_min_seconds: u32,
    /// The limit of `/discover`.
    pub discover: DiscoverBounds,
    /// The limit of a `discover` that rides along with another call, where a small answer is expected.
    pub inline_discover: DiscoverBounds,
    /// Most bytes of peers in one page. API Gateway and its Lambda carry 6 MB; a client should not have to.
    pub page_bytes: usize,
    /// Most changes that are remembered for those who follow them. A million peers of which a tenth is replaced every five minutes make
    /// 670 changes a second: a minute and a half, three times what a stalled watcher is given before it is cut off.
    pub max_changes: usize,
    /// Most bytes that these take: as many changes of peers like the seed's, while large ones are remembered for a shorter time.
    pub max_changes_bytes: usize,
    /// Whether only its holder may change a live registration.
    pub holder_rule: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_peers: 2_000_000,
            max_bytes: 2 << 30,
            max_peers_per_source: 1_024,
            max_peers_per_address: 64,
            max_archetypes: 1_000_000,
            ttl_default: Ttl::from_secs(300),
            ttl_min: Ttl::from_secs(30),
            ttl_max: Ttl::from_secs(3_600),
            revival_window_millis: 24 * 3_600 * 1_000,
            heartbeat_interval_max_seconds: 200,
            heartbeat_interval_min_seconds: 10,
            discover: DiscoverBounds { default: 1_000, max: 1_000 },
            inline_discover: DiscoverBounds { default: 20, max: 100 },
            page_bytes: 1 << 20,
            max_changes: 65_536,
            max_changes_bytes: 24 << 20,
            holder_rule: true,
        }
    }
}

/// Two limits that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLimits(String);

impl Limits {
    /// Checks that the limits agree with each other.
    ///
    /// # Errors
    /// [`InvalidLimits`] names the two that don't.
    pub fn check(&self) -> Result<(), InvalidLimits> {
        let Self { ttl_min, ttl_default, ttl_max, discover, inline_discover, .. } = self;
        if ttl_min.as_secs() == 0 || ttl_min > ttl_max {
            return Err(InvalidLimits(format!(
                "the shortest lease ({} s) must be at least 1 s and at most the longest ({} s)",
                ttl_min.as_secs(),
                ttl_max.as_secs()
            )));
        }
        if !(ttl_min..=ttl_max).contains(&ttl_default) {
            return Err(InvalidLimits(format!(
                "the default lease ({} s) must lie between the shortest ({} s) and the longest ({} s)",
                ttl_default.as_secs(),
                ttl_min.as_secs(),
                ttl_max.as_secs()
            )));
        }
        let (shortest, longest) = (self.heartbeat_interval_min_seconds, self.heartbeat_interval_max_seconds);
        if shortest > longest {
            return Err(InvalidLimits(format!(
                "the shortest interval of heartbeats ({shortest} s) must be at most the longest ({longest} s)"
            )));
        }
        for bounds in [discover, inline_discover] {
            if !(1..=bounds.max).contains(&bounds.default) {
                return Err(InvalidLimits(format!(
                    "the default limit of a discover ({}) must be from 1 to {}",
                    bounds.default, bounds.max
                )));
            }
        }
        Ok(())
    }

    /// When the first heartbeat of a lease is wanted, in seconds: at a third of it, so that two may be lost.
    pub fn heartbeat_interval_seconds(&self, ttl: Ttl) -> u32 {
        (ttl.as_secs() / 3).clamp(1, self.heartbeat_interval_max_seconds.max(1))
    }

    /// Between which intervals, in seconds, each further heartbeat is wanted: drawn anew each time, so that those who came back in one second
    /// after a restart are soon apart.
    ///
    /// A third of the lease at the latest. A steady peer is asked less often, since it has shown that its heartbeats arrive: so late that two
    /// whole intervals still lie within its lease, and one may be lost.
    pub fn heartbeat_cadence(&self, ttl: Ttl, steady: bool) -> RangeInclusive<u32> {
        let third = self.heartbeat_interval_seconds(ttl);
        let half = (ttl.as_secs().saturating_sub(1) / 2).min(self.heartbeat_interval_max_seconds);
        let latest = if steady { third.max(half) } else { third };
        let bound = self.heartbeat_interval_min_seconds.min(third);
        (latest - latest / JITTER_PART).max(bound)..=latest
    }

    /// Whether a peer that a heartbeat finds live is steady: registered three leases ago or longer.
    pub fn is_steady(ttl: Ttl, registered_at: Timestamp, now: Timestamp) -> bool {
        now.millis_since(registered_at) >= STEADY_LEASES * ttl.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_wanted_every_third_of_a_lease_up_to_a_bound() {
        let limits = Limits::default();
        for (ttl, interval) in [(300, 100), (30, 10), (3_600, 200), (1, 1)] {
            assert_eq!(limits.heartbeat_interval_seconds(Ttl::from_secs(ttl)), interval);
        }
    }

    #[test]
    fn a_further_heartbeat_is_wanted_up_to_a_fifth_earlier_and_never_below_the_bound() {
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
    fn a_steady_peer_beats_less_often_and_two_of_its_intervals_fit_the_lease() {
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
    fn limits_that_contradict_each_other_are_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let short = Limits { ttl_default: Ttl::from_secs(10), ..Limits::default() };
        assert!(short.check().unwrap_err().to_string().contains("default lease (10 s)"));
        let none = Limits { ttl_min: Ttl::from_secs(0), ..Limits::default() };
        assert!(none.check().is_err());
        let intervals = Limits { heartbeat_interval_min_seconds: 201, ..Limits::default() };
        assert!(intervals.check().unwrap_err().to_string().contains("shortest interval"));
        let page = Limits { discover: DiscoverBounds { default: 0, max: 10 }, ..Limits::default() };
        assert!(page.check().is_err());
    }
}
