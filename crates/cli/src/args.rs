//! The subcommands of the command line. Each declares its own arguments in its module.

use clap::{Parser, Subcommand};

use crate::connect::ConnectArgs;
use crate::cost::CostArgs;
#[cfg(feature = "dynamodb")]
use crate::create_table::CreateTableArgs;
use crate::demo::DemoArgs;
use crate::doctor::DoctorArgs;
#[cfg(feature = "packaging")]
use crate::generate::{CompletionsArgs, ManArgs};
use crate::guide::EXIT_CODES;
use crate::serve::ServeArgs;
use crate::subcommand::admin::{BlockArgs, BlocksArgs, EvictArgs};
use crate::subcommand::deregister::DeregisterArgs;
use crate::subcommand::discover::DiscoverArgs;
use crate::subcommand::heartbeat::HeartbeatArgs;
use crate::subcommand::keep::KeepArgs;
use crate::subcommand::keygen::KeygenArgs;
use crate::subcommand::network::NetworkArgs;
use crate::subcommand::register::RegisterArgs;
use crate::subcommand::verify::VerifyArgs;
use crate::transfer::TransferArgs;

/// What `--version` prints after the name: the version, the commit if the build recorded it in
/// `BUILD_COMMIT`, and the stores that the features of the build add.
fn long_version() -> String {
    let commit = option_env!("BUILD_COMMIT").unwrap_or("not recorded");
    let enabled = [("dynamodb", cfg!(feature = "dynamodb")), ("valkey", cfg!(feature = "valkey"))];
    let names: Vec<_> = enabled.iter().filter(|(_, is_on)| *is_on).map(|(name, _)| *name).collect();
    let features = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("{}\ncommit: {commit}\nfeatures: {features}", env!("CARGO_PKG_VERSION"))
}

/// Aurora Discovery: a service through which the peers of a network find each other.
#[derive(Debug, Parser)]
#[command(
    name = "aurora-discovery",
    version,
    long_version = long_version(),
    propagate_version = true,
    after_help = EXIT_CODES
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the discovery service.
    Serve(Box<ServeArgs>),
    /// Register a peer, or replace its registration.
    Register(RegisterArgs),
    /// Renew the lease of one or several peers once.
    Heartbeat(HeartbeatArgs),
    /// List live peers.
    Discover(DiscoverArgs),
    /// End a peer's lease and delete its registration.
    Deregister(DeregisterArgs),
    /// Print the health of the service; the exit code is 0 if it is healthy.
    Health(ConnectArgs),
    /// Print statistics of the whole network: live peers, rates of change, risks.
    Network(NetworkArgs),
    /// Register a peer, renew its lease until stopped, then deregister it.
    Keep(KeepArgs),
    /// Make a private key that signs a peer's registrations, or an API key for a service.
    Keygen(KeygenArgs),
    /// Verify a signed registration, without a service.
    Verify(VerifyArgs),
    /// Delete peers as an operator: one peer, those of a key, or those of a source.
    Evict(EvictArgs),
    /// Block a peer, a key or a source for some time, and delete its peers.
    Block(BlockArgs),
    /// End a block.
    Unblock(EvictArgs),
    /// List the blocks in force.
    Blocks(BlocksArgs),
    /// Run a service in memory with a dozen simulated peers, and show them live.
    Demo(DemoArgs),
    /// Check a service as peers and browsers use it, and print how to fix each problem.
    Doctor(DoctorArgs),
    /// Estimate the monthly cost of the stack on AWS, and what would lower it.
    Cost(CostArgs),
    /// Write all registrations of a store, with their leases and holders, to standard output.
    Export(TransferArgs),
    /// Read from standard input what `export` wrote, and put these registrations into a store.
    Import(TransferArgs),
    /// Create the table for `serve --store dynamodb` at a local endpoint; on AWS the stack creates
    /// it.
    #[cfg(feature = "dynamodb")]
    CreateTable(CreateTableArgs),
    /// Print the script that completes the command in a shell.
    #[cfg(feature = "packaging")]
    Completions(CompletionsArgs),
    /// Write the manual pages of the command into a directory.
    #[cfg(feature = "packaging")]
    Man(ManArgs),
    /// Print the settings of `serve` as the documentation lists them.
    #[command(hide = true)]
    Settings,
}
