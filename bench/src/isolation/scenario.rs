//! The events in the simulated network, and the behaviour of its peers.

use std::ops::Range;

/// The parameters of a simulation.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Scenario {
    /// The number of peers that run at any time.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) peers: u32,
    /// The number of peers that a discover requests.
    #[arg(long, default_value_t = 20)]
    pub(crate) k: u32,
    /// The number of measured lease durations; the network forms during another one before them.
    #[arg(long, default_value_t = 12)]
    pub(crate) leases: u32,
    /// The length of a lease, in seconds.
    #[arg(long, default_value_t = 300)]
    pub(crate) lease_seconds: u32,
    /// The interval of the heartbeats of a peer, in seconds.
    #[arg(long, default_value_t = 100)]
    pub(crate) heartbeat_seconds: u32,
    /// The interval of the discovers of a peer, in seconds; if it equals the heartbeat interval,
    /// heartbeats include them.
    #[arg(long, default_value_t = 100)]
    pub(crate) discover_seconds: u32,
    /// The share of the peers that is replaced by new ones per lease duration.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) replaced: f64,
    /// The share of stopping peers that deregister; the others are listed until their lease ends.
    #[arg(long, default_value_t = 0.5)]
    pub(crate) deregistering: f64,
    /// The probability that a request is lost; the peer does not retry before its next action.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) loss: f64,
    /// The start of the outage, in seconds.
    #[arg(long, default_value_t = 1_200)]
    pub(crate) outage_at: u32,
    /// The duration of the outage.
    #[arg(long, default_value_t = 0)]
    pub(crate) outage_seconds: u32,
    /// The outage is a restart, after which each peer that was live gets a full lease; otherwise
    /// leases expire during the outage.
    #[arg(long)]
    pub(crate) outage_restores: bool,
    /// The start of a partition between two hosts of the service, in seconds.
    #[arg(long, default_value_t = 1_200)]
    pub(crate) partition_at: u32,
    /// The duration of the partition, during which each peer uses one of the hosts.
    #[arg(long, default_value_t = 0)]
    pub(crate) partition_seconds: u32,
    /// The number of responses that a peer remembers; legacy clients remember only the last one.
    #[arg(long, default_value_t = 1)]
    pub(crate) responses: u32,
    /// The interval at which the graph is analysed, in seconds.
    #[arg(long, default_value_t = 10)]
    pub(crate) step_seconds: u32,
    /// Simulate only the uniform sample of the service.
    #[arg(long)]
    pub(crate) ours_only: bool,
    /// The seed of the random number generator.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Scenario {
    /// Whether each heartbeat includes a discover.
    pub(crate) fn includes_discover(&self) -> bool {
        self.heartbeat_seconds == self.discover_seconds
    }

    /// The number of peers per second that leave and are replaced.
    pub(crate) fn replaced_per_second(&self) -> f64 {
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

    /// The time during which the hosts are partitioned, in seconds since the start of the
    /// simulation.
    pub(crate) fn partition(&self) -> Range<u32> {
        self.period(self.partition_at, self.partition_seconds)
    }

    /// The kind and the time of the disturbance, in seconds since the first measurement.
    pub(crate) fn disturbance(&self) -> Option<(&'static str, Range<u32>)> {
        let of = |name, at, seconds| (seconds > 0).then(|| (name, at..at + seconds));
        let outage = of("outage", self.outage_at, self.outage_seconds);
        outage.or_else(|| of("partition", self.partition_at, self.partition_seconds))
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
    /// The peers that started last.
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
