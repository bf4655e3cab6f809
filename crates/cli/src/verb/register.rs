//! `register`.

use clap::Args;

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::peer::PeerArgs;

/// Arguments of `register`.
#[derive(Debug, Args)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Print the service's answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Registers a peer and prints the lease that the service granted.
pub(crate) async fn run(args: RegisterArgs) -> Result<(), Failure> {
    let answer = args.connect.client()?.register(&args.peer.registration()?).await?;
    if args.json {
        return print_json(&answer);
    }
    let id = &answer.peer_id;
    print(format_args!(
        "{id} is registered until {} UTC ({} s); the service sees it at {}",
        answer.ttl_expires,
        answer.ttl_seconds.as_secs(),
        escape(&answer.observed_address),
    ))?;
    print(format_args!(
        "next heartbeat wanted within {} s: aurora-discovery heartbeat {id}",
        answer.heartbeat_interval_seconds
    ))?;
    print(format_args!(
        "lease token (proves the holder from another address): {}",
        answer.lease_token.as_str()
    ))
}
