//! The arguments of `doctor`.

use clap::Args;

use crate::args::ConnectArgs;

/// Which service, and how thoroughly.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Also wait for a lease to end: some 45 seconds.
    #[arg(long)]
    pub(crate) expiry: bool,
    /// How many calls latency is taken from.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) calls: u32,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}
