//! `deregister`.

use aurora_discovery_protocol::{DeregisterRequest, LeaseToken, PeerId};
use clap::Args;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::print;

/// Arguments of `deregister`.
#[derive(Debug, Args)]
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

/// Takes a peer out of the registry.
pub(crate) async fn run(args: DeregisterArgs) -> Result<(), Failure> {
    let request = DeregisterRequest { peer_id: args.peer_id, lease_token: args.lease_token };
    let answer = args.connect.client()?.deregister(&request).await?;
    print(format_args!("{} is deregistered", answer.peer_id))
}
