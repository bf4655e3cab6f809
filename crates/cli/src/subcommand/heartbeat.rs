//! `heartbeat`.

use aurora_discovery_protocol::{
    DiscoverRequest, DiscoveredPage, HeartbeatEntries, HeartbeatRequest, HeartbeatResult, HeartbeatsRequest,
    PeerId, Timestamp, Ttl,
};
use clap::Args;

use super::page;
use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::terminal;
use crate::token::TokenArgs;

/// How many peers to request with a heartbeat: the default of the API.
const PEERS: u32 = 20;

/// Arguments of `heartbeat`.
#[derive(Debug, Args)]
pub(crate) struct HeartbeatArgs {
    /// The peer whose lease to renew; up to 100 peers in one request.
    #[arg(required = true, value_parser = PeerId::parse, num_args = 1..=HeartbeatEntries::MAX_COUNT, value_name = "PEER_ID")]
    pub(crate) peer_ids: Vec<PeerId>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    /// Also list other peers, in the same request.
    #[arg(long)]
    pub(crate) discover: bool,
    /// Print the response of the service as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Renews leases, and lists some peers if requested.
pub(crate) async fn run(args: HeartbeatArgs) -> Result<(), Failure> {
    match args.peer_ids.as_slice() {
        [peer_id] => renew_one(&args, peer_id.clone()).await,
        _ if args.token.token.is_some() || args.token.token_file.is_some() => {
            Err(Failure::Usage("a lease token belongs to one peer: renew each peer with its own".to_owned()))
        }
        _ => renew_many(&args).await,
    }
}

async fn renew_one(args: &HeartbeatArgs, peer_id: PeerId) -> Result<(), Failure> {
    let others = DiscoverRequest { exclude: Some(peer_id.clone()), ..DiscoverRequest::new(PEERS) };
    let lease_token = args.token.clone().require()?;
    let discover = args.discover.then_some(others);
    let request = HeartbeatRequest { lease_token, discover, ..HeartbeatRequest::new(peer_id) };
    let response = args.connect.client()?.heartbeat(&request).await?;
    if args.json {
        return print_json(&response);
    }
    print_lease(
        &response.peer_id,
        response.ttl_expires,
        response.ttl_seconds,
        response.heartbeat_interval_seconds,
    )?;
    print_page(response.page.as_ref(), response.timestamp)
}

async fn renew_many(args: &HeartbeatArgs) -> Result<(), Failure> {
    let ids: Vec<_> = args.peer_ids.iter().map(PeerId::as_str).collect();
    let peer_ids = HeartbeatEntries::parse(&ids).map_err(|rule| Failure::flag("<PEER_ID>...", rule))?;
    let discover = args.discover.then(|| DiscoverRequest::new(PEERS));
    let response = args.connect.client()?.heartbeats(&HeartbeatsRequest { peer_ids, discover }).await?;
    if args.json {
        print_json(&response)?;
    } else {
        response.results.iter().try_for_each(print_result)?;
        print_page(response.page.as_ref(), response.timestamp)?;
    }
    // The exit code reports a peer that was not renewed, which the output already explains.
    if response.renewed == response.results.len() { Ok(()) } else { Err(Failure::AlreadyReported) }
}

fn print_result(result: &HeartbeatResult) -> Result<(), Failure> {
    match result {
        HeartbeatResult::Renewed { peer_id, ttl_expires, ttl_seconds, heartbeat_interval_seconds } => {
            print_lease(peer_id, *ttl_expires, *ttl_seconds, *heartbeat_interval_seconds)
        }
        HeartbeatResult::Refused { peer_id, error, code } => {
            print(format_args!("{peer_id} was not renewed: {} ({code})", escape(error)))
        }
    }
}

fn print_lease(peer_id: &PeerId, until: Timestamp, ttl: Ttl, interval: u32) -> Result<(), Failure> {
    let ttl = ttl.as_secs();
    print(format_args!(
        "{peer_id} is renewed until {until} UTC ({ttl} s); next heartbeat due within {interval} s"
    ))
}

fn print_page(page: Option<&DiscoveredPage>, now: Timestamp) -> Result<(), Failure> {
    let Some(discovered) = page else { return Ok(()) };
    let width = terminal::size().map(|size| size.columns);
    for line in page::lines(&discovered.peers, now, page::Detail::Legacy, width) {
        print(line)?;
    }
    print(page::summary(&discovered.info))
}
