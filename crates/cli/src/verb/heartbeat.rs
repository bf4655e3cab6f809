//! `heartbeat`.

use aurora_protocol::{DiscoverRequest, HeartbeatRequest};

use super::{page, print, print_json};
use crate::args::HeartbeatArgs;
use crate::failure::Failure;
use crate::terminal;

/// How many peers to ask for along the way: the contract's own default.
const PEERS: u32 = 20;

/// Renews a lease, and lists some peers where asked to.
pub(crate) async fn run(args: HeartbeatArgs) -> Result<(), Failure> {
    let others = DiscoverRequest { exclude: Some(args.peer_id.clone()), ..DiscoverRequest::new(PEERS) };
    let request = HeartbeatRequest { peer_id: args.peer_id, discover: args.discover.then_some(others) };
    let answer = args.connect.client()?.heartbeat(&request).await?;
    if args.json {
        return print_json(&answer);
    }
    print(format_args!(
        "{} is renewed until {} UTC ({} s); next heartbeat wanted within {} s",
        answer.peer_id,
        answer.ttl_expires,
        answer.ttl_seconds.as_secs(),
        answer.heartbeat_interval_seconds
    ))?;
    if let Some(discovered) = &answer.page {
        let width = terminal::size().map(|size| size.columns);
        for line in page::lines(discovered, answer.timestamp, page::Detail::Seed, width) {
            print(line)?;
        }
        print(page::summary(&discovered.figures))?;
    }
    Ok(())
}
