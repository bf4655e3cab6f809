//! The command line, declared once: help, settings and their documentation come from here.

use std::path::PathBuf;

use aurora_protocol::{LeaseToken, Metadata, PeerId, PeerIds};
use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::cost::CostArgs;
use crate::doctor::DoctorArgs;
use crate::serve::ServeArgs;

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

/// Where the service is and how it is called.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct ConnectArgs {
    /// Where the service answers; a path is kept.
    #[arg(long, env = "AURORA_ENDPOINT", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub(crate) endpoint: String,
    /// Trust only servers whose certificate descends from one in this PEM file, instead of those that the system trusts.
    #[arg(long, env = "AURORA_CA_CERT", value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// How long one attempt may take.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) timeout: u64,
    /// How often to try again what may pass: no connection, an overloaded service.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub(crate) retries: u32,
}

/// What a peer publishes.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct PeerArgs {
    /// The peer's id: 1 to 128 visible ASCII characters.
    #[arg(value_parser = PeerId::parse)]
    pub(crate) peer_id: PeerId,
    /// Where the peer can be reached: an IP address or a DNS name; left out: the address that the service sees.
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// The peer's port; 0: it can't be dialled.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// An archetype that the peer carries; may repeat.
    #[arg(long = "archetype", value_name = "ARCHETYPE")]
    pub(crate) archetypes: Vec<String>,
    /// What the peer says about itself: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = Metadata::parse)]
    pub(crate) metadata: Option<Metadata>,
    /// The lease to ask for; left out: the service's default.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ttl: Option<u32>,
    /// The token of the lease that is registered over, where the address has changed.
    #[arg(long, env = "AURORA_LEASE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = LeaseToken::parse)]
    pub(crate) lease_token: Option<LeaseToken>,
}

/// Arguments of `register`.
#[derive(Debug, ClapArgs)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Print the service's answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Arguments of `heartbeat`.
#[derive(Debug, ClapArgs)]
pub(crate) struct HeartbeatArgs {
    /// The peer whose lease is renewed; up to 100 of them in one call.
    #[arg(required = true, value_parser = PeerId::parse, num_args = 1..=PeerIds::MAX_COUNT, value_name = "PEER_ID")]
    pub(crate) peer_ids: Vec<PeerId>,
    /// Also list some of the other peers, in the same call.
    #[arg(long)]
    pub(crate) discover: bool,
    /// Print the service's answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Arguments of `discover`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct DiscoverArgs {
    /// List peers that carry this archetype; may repeat: any of them.
    #[arg(long = "archetype", value_name = "ARCHETYPE")]
    pub(crate) archetypes: Vec<String>,
    /// Most peers to list (with --all: in one page).
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// A peer to leave out: the caller.
    #[arg(long, value_name = "PEER_ID", value_parser = PeerId::parse)]
    pub(crate) exclude: Option<PeerId>,
    /// Where fewer than the limit carry the archetypes, go on with others from the whole network.
    #[arg(long, conflicts_with = "all")]
    pub(crate) fill: bool,
    /// List every peer, page by page, instead of a random sample.
    #[arg(long)]
    pub(crate) all: bool,
    /// Also say when each lease ends and when each peer registered.
    #[arg(long)]
    pub(crate) full: bool,
    /// Print the service's answer as JSON; with --all one line per page.
    #[arg(long)]
    pub(crate) json: bool,
    /// Ask again and again, and redraw, until Ctrl-C.
    #[arg(long, conflicts_with = "all")]
    pub(crate) watch: bool,
    /// How long to wait between two looks of --watch.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) interval: u64,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Arguments of `deregister`.
#[derive(Debug, ClapArgs)]
pub(crate) struct DeregisterArgs {
    /// The peer that leaves.
    #[arg(value_parser = PeerId::parse)]
    pub(crate) peer_id: PeerId,
    /// The token of its lease, where the address has changed.
    #[arg(long, env = "AURORA_LEASE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = LeaseToken::parse)]
    pub(crate) lease_token: Option<LeaseToken>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Arguments of `network`.
#[derive(Debug, ClapArgs)]
pub(crate) struct NetworkArgs {
    /// Print the service's answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Arguments of `keep`.
#[derive(Debug, ClapArgs)]
pub(crate) struct KeepArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Arguments of `create-table`.
#[cfg(feature = "dynamodb")]
#[derive(Debug, ClapArgs)]
pub(crate) struct CreateTableArgs {
    /// The table's name.
    #[arg(long, env = "AURORA_TABLE", value_name = "NAME")]
    pub(crate) table: String,
    /// Where DynamoDB is.
    #[arg(long, env = "AURORA_DYNAMODB_ENDPOINT", value_name = "URL")]
    pub(crate) dynamodb_endpoint: String,
}

/// Arguments of `demo`.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub(crate) struct DemoArgs {
    /// End after this time; left out: at Ctrl-C.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,
    /// How many peers the network has at a time.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub(crate) peers: u16,
}
