//! The arguments of `doctor`.

use clap::Args;

use crate::connect::ConnectArgs;

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Also register a peer with a lease of this many seconds (30 without a value) and wait until
    /// it expires, which takes at most a third longer.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) expiry: Option<u32>,
    /// The number of requests for measuring latency.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) calls: u32,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}
