//! The arguments of `doctor`.

use clap::Args;

use crate::connect::ConnectArgs;

/// Which service, and how thoroughly.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Also take a lease of so many seconds (30 if none are named) and wait for its end; at most a third longer.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) expiry: Option<u32>,
    /// How many calls latency is taken from.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) calls: u32,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
