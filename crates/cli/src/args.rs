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
use crate::verb::deregister::DeregisterArgs;
use crate::verb::discover::DiscoverArgs;
use crate::verb::heartbeat::HeartbeatArgs;
use crate::verb::keep::KeepArgs;
use crate::verb::network::NetworkArgs;
use crate::verb::register::RegisterArgs;

/// Aurora Discovery: where a peer-to-peer network's newcomers find others.
#[derive(Debug, Parser)]
#[command(name = "aurora-discovery", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the command does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the discovery service.
    Serve(Box<ServeArgs>),
    /// Register a peer, or replace its registration.
    Register(RegisterArgs),
    /// Renew a peer's lease, or those of many, once.
    Heartbeat(HeartbeatArgs),
    /// List live peers.
    Discover(DiscoverArgs),
    /// Take a peer out of the registry.
    Deregister(DeregisterArgs),
    /// Ask how the service is: exit code 0 if it is healthy.
    Health(ConnectArgs),
    /// Say how the network as a whole is: its peers, what comes and goes, what is at risk.
    Network(NetworkArgs),
    /// Register a peer and keep its lease until stopped, then deregister it.
    Keep(KeepArgs),
    /// Show a network of a dozen peers as it lives, on a service of its own.
    Demo(DemoArgs),
    /// Examine a service as peers and browsers meet it, and say what mends what is wrong.
    Doctor(DoctorArgs),
    /// Print what the stack on AWS costs a month, by part, and what would lower it.
    Cost(CostArgs),
    /// Create the table of `serve --store dynamodb` at a local endpoint; on AWS the stack does.
    #[cfg(feature = "dynamodb")]
    CreateTable(CreateTableArgs),
    /// Print the settings of `serve` as the README lists them.
    #[command(hide = true)]
    Settings,
}
