//! `deregister`.

use aurora_discovery_protocol::{DeregisterRequest, LeaseToken, PeerId};
use clap::Args;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::print;

/// Arguments of `deregister`.
#[derive(Debug, Args)]
pub(crate) struct DeregisterArgs {
    /// The peer to deregister.
    #[arg(value_parser = PeerId::parse)]
    pub(crate) peer_id: PeerId,
    /// The lease token of the peer; needed if the address of this client has changed.
    #[arg(long, env = "AURORA_LEASE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = LeaseToken::parse)]
    pub(crate) lease_token: Option<LeaseToken>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Ends the lease of a peer and deletes its registration.
pub(crate) async fn run(args: DeregisterArgs) -> Result<(), Failure> {
    let request = DeregisterRequest { peer_id: args.peer_id, lease_token: args.lease_token };
    let response = args.connect.client()?.deregister(&request).await?;
    print(format_args!("{} is deregistered", response.peer_id))
}
