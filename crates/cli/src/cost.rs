//! `cost`: the monthly bill of the stack on AWS. It works offline.

use std::path::PathBuf;

use aurora_discovery_cost::{
    Architecture, BUILT_IN_PRICES, Cadence, Function, Mail, Prices, Report, Workload,
};
use clap::Args;

use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};

/// The network to price.
#[derive(Clone, Debug, Args)]
pub(crate) struct CostArgs {
    /// The number of live peers.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    peers: u32,
    /// The interval of each peer's heartbeats.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    heartbeat: u32,
    /// The number of peers that a host renews in one request (`peer_ids`).
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100))]
    beats_per_call: u32,
    /// The interval at which each peer discovers others; 0 means never.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    discover: u32,
    /// The number of peers that a discover requests.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Include discovers in heartbeats.
    #[arg(long)]
    riding: bool,
    /// The number of archetypes of each peer.
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=32))]
    archetypes: u32,
    /// The duration of a lease.
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    lease: u32,
    /// How many times a day each peer starts and stops, that is, registers and deregisters.
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    starts_per_day: u32,
    /// How many connections a day each peer takes part in by means of its mailbox; 0 means that no
    /// peer has one.
    #[arg(long, default_value_t = 0, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    connections: u32,
    /// The interval at which a peer with a mailbox requests its mail while it expects none; 0 means
    /// that only its heartbeats fetch it.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    mail_poll: u32,
    /// The function's memory.
    #[arg(long, default_value_t = 256, value_name = "MB", value_parser = clap::value_parser!(u32).range(128..=10_240))]
    memory: u32,
    /// The function's processor.
    #[arg(long, value_enum, default_value = "arm64")]
    architecture: Architecture,
    /// The duration that Lambda bills per request; most of it is waiting for DynamoDB.
    #[arg(long, default_value_t = 5, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u32).range(1..=30_000))]
    billed: u32,
    /// Include the CloudWatch metrics of the function's counts (the template's `CustomMetrics`).
    #[arg(long)]
    custom_metrics: bool,
    /// Read the prices from this file instead of the built-in list; --print-prices shows the
    /// format.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Print the built-in price list and exit.
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
    /// If the interval of the heartbeats is longer than the lease.
    fn workload(&self) -> Result<Workload, Failure> {
        if self.heartbeat > self.lease {
            return Err(Failure::flag(
                "--heartbeat",
                format_args!(
                    "must be at most --lease ({} s), or peers would expire between heartbeats",
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
                heartbeats_per_request: self.beats_per_call.into(),
                discover_seconds: self.discover.into(),
                discover_limit: self.limit.into(),
                discover_in_heartbeat: self.riding,
            },
            function: Function {
                memory_mb: self.memory.into(),
                architecture: self.architecture,
                billed_millis: self.billed.into(),
            },
            mail: Mail { connections_per_day: self.connections.into(), poll_seconds: self.mail_poll.into() },
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
    // A custom price list may contain any characters in its names, so the text is escaped.
    report.to_string().lines().try_for_each(|line| print(escape(line)))
}
