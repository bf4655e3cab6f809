//! The arguments of `cost`.

use std::path::PathBuf;

use clap::Args;

use super::workload::{Architecture, Cadence, Function, Workload};
use crate::failure::Failure;

/// The network to price.
#[derive(Clone, Debug, Args)]
pub(crate) struct CostArgs {
    /// How many peers are live.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    peers: u32,
    /// How often each peer sends a heartbeat.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    heartbeat: u32,
    /// How many peers' heartbeats a host sends in one call (`peer_ids`).
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    beats_per_call: u32,
    /// How often each peer discovers others; 0: never.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    discover: u32,
    /// How many peers a discover lists.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Discovers ride along with heartbeats.
    #[arg(long)]
    riding: bool,
    /// How many archetypes each peer carries.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=32))]
    archetypes: u32,
    /// The lease.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    lease: u32,
    /// How often a day each peer registers and, when it leaves, deregisters.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    starts_per_day: u32,
    /// The function's memory.
    #[arg(long, default_value_t = 256, value_name = "MB", value_parser = clap::value_parser!(u32).range(128..=10_240))]
    memory: u32,
    /// The function's processor.
    #[arg(long, value_enum, default_value = "arm64")]
    architecture: Architecture,
    /// Milliseconds that Lambda bills for a request: it waits for DynamoDB most of them.
    #[arg(long, default_value_t = 5, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=30_000))]
    billed: u32,
    /// The function's counts are CloudWatch metrics too (the template's `CustomMetrics`).
    #[arg(long)]
    custom_metrics: bool,
    /// Take the prices from this file instead of the built-in list; --print-prices shows its form.
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
    /// Print the built-in price list and end.
    #[arg(long, exclusive = true)]
    pub(crate) print_prices: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl CostArgs {
    /// The workload that these arguments describe.
    ///
    /// # Errors
    /// Heartbeats that come less often than the lease allows.
    pub(crate) fn workload(&self) -> Result<Workload, Failure> {
        if self.heartbeat > self.lease {
            return Err(Failure::flag(
                "--heartbeat",
                format_args!(
                    "must be at most --lease ({} s): between its beats a peer would not be listed",
                    self.lease
                ),
            ));
        }
        Ok(Workload {
            peers: self.peers.into(),
            lease_seconds: self.lease.into(),
            archetypes: self.archetypes.into(),
            starts_per_day: self.starts_per_day.into(),
            cadence: Cadence {
                heartbeat_seconds: self.heartbeat.into(),
                beats_per_call: self.beats_per_call.into(),
                discover_seconds: self.discover.into(),
                discover_limit: self.limit.into(),
                riding: self.riding,
            },
            function: Function {
                memory_mb: self.memory.into(),
                architecture: self.architecture,
                billed_millis: self.billed.into(),
            },
            custom_metrics: self.custom_metrics,
        })
    }
}
