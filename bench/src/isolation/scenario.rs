//! The events in the simulated network, and the behaviour of its peers.

use std::ops::Range;

/// What is simulated.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scenario {
    /// Peers that run at any time.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) peers: u32,
    /// Peers that a discover asks for.
    #[arg(long, default_value_t = 20)]
    pub(crate) k: u32,
    /// Leases that are measured; one more goes before, in which the network comes to be.
    #[arg(long, default_value_t = 12)]
    pub(crate) leases: u32,
    /// The length of a lease, in seconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) lease_seconds: u32,
    /// How often a peer beats.
    #[arg(long, default_value_t = 100)]
    pub(crate) heartbeat_seconds: u32,
    /// How often a peer discovers; if as often as it beats, the discover rides the heartbeat.
    #[arg(long, default_value_t = 100)]
    pub(crate) discover_seconds: u32,
    /// The share of the peers that a lease's time replaces by new ones.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) replaced: f64,
    /// The share of those that leave which deregister; the others fall silent and are listed until their lease ends.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) deregistering: f64,
    /// The chance that a call is lost on its way: the service never sees it, and the peer tries again at its next turn.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// When the service stops to answer, in seconds.
    #[arg(long, default_value_t = 1_200)]
    pub(crate) outage_at: u32,
    /// For how long nothing is answered.
    #[arg(long, default_value_t = 0)]
    pub(crate) outage_seconds: u32,
    /// The outage was a restart, after which each peer that was live at its beginning has a whole lease; else leases ran out meanwhile.
    #[arg(long)]
    pub(crate) outage_restores: bool,
    /// When two hosts of the service stop to see each other's changes, in seconds.
    #[arg(long, default_value_t = 1_200)]
    pub(crate) partition_at: u32,
    /// For how long they don't. Each peer keeps to one of the hosts.
    #[arg(long, default_value_t = 0)]
    pub(crate) partition_seconds: u32,
    /// How many answers' worth of peers a peer remembers. Today's clients know the last answer only.
    #[arg(long, default_value_t = 1)]
    pub(crate) answers: u32,
    /// How often the graph is looked at, in seconds.
    #[arg(long, default_value_t = 10)]
    pub(crate) step_seconds: u32,
    /// Leave the other kinds of lists out.
    #[arg(long)]
    pub(crate) ours_only: bool,
    /// What chance follows from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Scenario {
    /// Whether each heartbeat includes a discover.
    pub(crate) fn rides(&self) -> bool {
        self.heartbeat_seconds == self.discover_seconds
    }

    /// The number of peers per second that leave and are replaced.
    pub(crate) fn replaced_a_second(&self) -> f64 {
        f64::from(self.peers) * self.replaced / f64::from(self.lease_seconds)
    }

    /// The number of hosts of the service.
    pub(crate) fn hosts(&self) -> u8 {
        if self.partition_seconds > 0 { 2 } else { 1 }
    }

    /// The time without responses, in seconds since the start of the simulation.
    pub(crate) fn outage(&self) -> Range<u32> {
        self.period(self.outage_at, self.outage_seconds)
    }

    /// The time when the hosts don't see each other, in seconds since the start of the simulation.
    pub(crate) fn partition(&self) -> Range<u32> {
        self.period(self.partition_at, self.partition_seconds)
    }

    /// The kind and the time of the disturbance, in seconds since the first measurement.
    pub(crate) fn trouble(&self) -> Option<(&'static str, Range<u32>)> {
        let of = |name, at, seconds| (seconds > 0).then(|| (name, at..at + seconds));
        let outage = of("nothing is answered", self.outage_at, self.outage_seconds);
        outage.or_else(|| of("hosts apart", self.partition_at, self.partition_seconds))
    }

    fn period(&self, at: u32, seconds: u32) -> Range<u32> {
        let start = self.lease_seconds + at;
        start..start + seconds
    }
}

/// The algorithm that chooses the peers in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampler {
    /// The service's own: a uniform random sample.
    Ours,
    /// The peers that registered last.
    NewestFirst,
    /// The first peers of a fixed order.
    FirstPage,
}

impl Sampler {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::NewestFirst, Self::FirstPage];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "uniform sample (ours)",
            Self::NewestFirst => "newest first",
            Self::FirstPage => "first page",
        }
    }
}
