//! The command line: one subcommand for the service and one for each verb of the client. Each
//! declares its own arguments.

use clap::{Parser, Subcommand};

use crate::connect::ConnectArgs;
use crate::cost::CostArgs;
#[cfg(feature = "dynamodb")]
use crate::create_table::CreateTableArgs;
use crate::demo::DemoArgs;
use crate::doctor::DoctorArgs;
use crate::serve::ServeArgs;
use crate::verb::admin::{BlockArgs, BlocksArgs, EvictArgs};
use crate::verb::deregister::DeregisterArgs;
use crate::verb::discover::DiscoverArgs;
use crate::verb::heartbeat::HeartbeatArgs;
use crate::verb::keep::KeepArgs;
use crate::verb::keygen::KeygenArgs;
use crate::verb::network::NetworkArgs;
use crate::verb::register::RegisterArgs;
use crate::verb::verify::VerifyArgs;

/// Aurora Discovery: a service through which the peers of a network find each other.
#[derive(Debug, Parser)]
#[command(name = "aurora-discovery", version, propagate_version = true)]
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
    /// Create the table for `serve --store dynamodb` at a local endpoint; on AWS the stack creates
    /// it.
    #[cfg(feature = "dynamodb")]
    CreateTable(CreateTableArgs),
    /// Print the settings of `serve` as the documentation lists them.
    #[command(hide = true)]
    Settings,
}
