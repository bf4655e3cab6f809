//! `cost`: the monthly bill of the stack on AWS. It works offline.

use std::path::PathBuf;

use aurora_discovery_cost::{Architecture, BUILT_IN_PRICES, Cadence, Function, Prices, Report, Workload};
use clap::Args;

use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};

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
    prices: Option<PathBuf>,
    /// Print the built-in price list and end.
    #[arg(long, exclusive = true)]
    print_prices: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl CostArgs {
    /// The workload that these arguments describe.
    ///
    /// # Errors
    ///
    /// Heartbeats that are less frequent than the lease allows.
    fn workload(&self) -> Result<Workload, Failure> {
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

/// Prints the bill.
pub(crate) fn run(args: &CostArgs) -> Result<(), Failure> {
    if args.print_prices {
        return print(BUILT_IN_PRICES.trim_end());
    }
    let prices = args.prices.as_deref().map_or_else(Prices::built_in, Prices::read);
    let prices = prices.map_err(|error| Failure::flag("--prices", error))?;
    let report = Report::new(args.workload()?, prices);
    if args.json {
        return print_json(&report);
    }
    // A custom price list may contain any characters in its names.
    report.to_string().lines().try_for_each(|line| print(escape(line)))
}
