//! `deregister`.

use aurora_discovery_protocol::{DeregisterRequest, PeerId};
use clap::Args;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::print;
use crate::token::TokenArgs;

/// Arguments of `deregister`.
#[derive(Debug, Args)]
pub(crate) struct DeregisterArgs {
    /// The peer to deregister.
    #[arg(value_parser = PeerId::parse)]
    pub(crate) peer_id: PeerId,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Ends the lease of a peer and deletes its registration.
pub(crate) async fn run(args: DeregisterArgs) -> Result<(), Failure> {
    let request = DeregisterRequest { peer_id: args.peer_id, lease_token: args.token.require()? };
    let response = args.connect.client()?.deregister(&request).await?;
    print(format_args!("{} is deregistered", response.peer_id))
}
