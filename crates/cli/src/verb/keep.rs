//! `keep`.

use std::io::{self, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use aurora_discovery_client::{Event, LeaseKeeper};
use aurora_discovery_protocol::{PeerId, Timestamp};
use clap::Args;

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::peer::PeerArgs;
use crate::signal::stop_requested;

/// Arguments of `keep`.
#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Registers a peer, keeps its lease until the command is stopped, and deregisters it.
pub(crate) async fn run(args: KeepArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let registration = args.peer.registration()?;
    let id = registration.peer_id.clone();
    let mut keeper = LeaseKeeper::start(client, registration, move |event| {
        // The lease matters more than its line of output.
        let _ = writeln!(io::stdout(), "{} {}", now(), describe(&id, &event));
    });
    tokio::select! {
        result = keeper.ended() => return Ok(result?),
        () = stop_requested() => {}
    }
    // A user who presses Ctrl-C twice does not want to wait for a service that does not respond.
    tokio::select! {
        result = keeper.stop() => Ok(result?),
        () = stop_requested() => {
            Err(Failure::Other("stopped before the service responded; the lease will expire".to_owned()))
        }
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since_epoch.as_secs())
}

fn describe(id: &PeerId, event: &Event) -> String {
    match event {
        Event::Registered(response) => format!(
            "{id} is registered until {} UTC; heartbeats every {} s; lease token {}",
            response.ttl_expires,
            response.heartbeat_interval_seconds,
            response.lease_token.as_str()
        ),
        Event::Renewed(response) => format!("{id} is renewed until {} UTC", response.ttl_expires),
        Event::Forgotten => format!("{id} is unknown to the service, registering again"),
        Event::Failed { error, retry_in } => {
            format!("{id}: {}; retrying in {:.1} s", escape(&error.to_string()), retry_in.as_secs_f64())
        }
        Event::Expired => format!("{id} is no longer listed: its lease expired before it could be renewed"),
        Event::Recovered { after } => {
            format!("{id} was renewed again after {:.1} s of failures", after.as_secs_f64())
        }
        Event::Refused { reason, .. } => format!("{id} was rejected: {}", escape(reason)),
        Event::Deregistered => format!("{id} is deregistered"),
    }
}
