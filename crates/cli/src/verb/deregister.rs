//! `deregister`.

use aurora_protocol::DeregisterRequest;

use super::print;
use crate::args::DeregisterArgs;
use crate::failure::Failure;

/// Takes a peer out of the registry.
pub(crate) async fn run(args: DeregisterArgs) -> Result<(), Failure> {
    let request = DeregisterRequest { peer_id: args.peer_id, lease_token: args.lease_token };
    let answer = args.connect.client()?.deregister(&request).await?;
    print(format_args!("{} is deregistered", answer.peer_id))
}
