//! `export` and `import`: move a network from one store to another.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_http::Clock;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Import, Limits, PeerState, Store, StoreError};
use aurora_discovery_settings::{Sources, TableArgs, ValkeyArgs};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::failure::{Failure, warn};
use crate::output::print;
use crate::serve::{StoreKind, data_directory, open_dynamodb, open_embedded, open_valkey};

/// The version of the format.
const VERSION: u32 = 1;
/// The number of peers that are imported concurrently. In the embedded store, one sync of the
/// journal can make all of them durable.
const CONCURRENT_IMPORTS: usize = 64;
/// The maximum number of retries of an operation while the store is unavailable, for example
/// because a table throttles.
const MAX_RETRIES: u32 = 10;
/// A revival window of a century, so that opening the store evicts no dormant peer. When the
/// service runs on the store, it evicts dormant peers by its own revival window.
const FOREVER_MILLIS: u64 = 100 * 365 * 86_400_000;

/// Arguments of `export` and `import`.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Where registrations are stored: in a data directory, on a Valkey server, or on a DynamoDB
    /// table.
    #[arg(long, env = "AURORA_STORE", default_value = "embedded", value_name = "STORE")]
    store: StoreKind,
    /// The data directory, whose service must be stopped; the default is that of `serve`.
    #[arg(long, env = "AURORA_DATA", value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    #[command(flatten)]
    valkey: ValkeyArgs,
    #[command(flatten)]
    table: TableArgs,
}

/// The first line of an export.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    aurora_discovery_export: u32,
    exported_at_millis: u64,
}

/// The last line, without which an export is not complete.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    peers: u64,
}

/// Writes all peers of a store to standard output, one per line.
pub(crate) async fn export(args: &TransferArgs) -> Result<(), Failure> {
    if args.store == StoreKind::Embedded {
        let directory = data_directory(args.data.clone(), "--data")?;
        // Checked first, because opening a store would create the directory.
        if !directory.is_dir() {
            return Err(Failure::flag("--data", format_args!("{} is no directory", directory.display())));
        }
    }
    let (store, clock) = open(args).await?;
    let mut out = BufWriter::new(io::stdout());
    let header = Header { aurora_discovery_export: VERSION, exported_at_millis: clock.now().as_millis() };
    write_line(&mut out, &header)?;
    let (mut peers, mut skipped, mut after) = (0, 0, None);
    loop {
        let mut retries = 0;
        let page = loop {
            match store.export(after.as_ref(), clock.now()).await {
                Ok(page) => break page,
                Err(error) => wait_for_store(error, &mut retries).await?,
            }
        };
        for peer in &page.peers {
            writeln!(out, "{}", peer.to_json())?;
            peers += 1;
        }
        skipped += page.skipped;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    write_line(&mut out, &End { peers })?;
    out.flush()?;
    store.close().await.map_err(Failure::other)?;
    match skipped {
        0 => Ok(()),
        _ => Err(Failure::Other(format!(
            "{skipped} of the stored peers can't be parsed and are missing; all others were exported"
        ))),
    }
}

/// Reads the output of [`export`] from standard input, and imports its peers into a store.
pub(crate) async fn import(args: &TransferArgs) -> Result<(), Failure> {
    let (store, clock) = open(args).await?;
    let result = import_into(&store, &clock).await;
    store.close().await.map_err(Failure::other)?;
    let Imported { stored, known } = result?;
    if known > 0 {
        warn(format_args!("{known} peers were already known and are unchanged"));
    }
    print(format_args!("{stored} peers imported"))
}

/// How many peers an import has stored, and how many the store knew already.
#[derive(Default)]
struct Imported {
    stored: u64,
    known: u64,
}

impl Imported {
    fn count(&mut self, result: Result<Import, Failure>) -> Result<(), Failure> {
        match result? {
            Import::Stored => self.stored += 1,
            Import::Known => self.known += 1,
        }
        Ok(())
    }
}

async fn import_into(store: &Arc<dyn Store>, clock: &Clock) -> Result<Imported, Failure> {
    let mut lines = io::stdin().lines();
    let first = lines.next().transpose().map_err(|error| unreadable(&error))?.unwrap_or_default();
    let header: Header = serde_json::from_str(&first)
        .map_err(|_| Failure::Other("standard input does not begin as an export does".to_owned()))?;
    if header.aurora_discovery_export != VERSION {
        return Err(Failure::Other("the export is of a later version; update the command".to_owned()));
    }
    let exported_at = Timestamp::from_millis(header.exported_at_millis);
    let (mut imported, mut tasks) = (Imported::default(), JoinSet::new());
    let mut end = None;
    for (number, line) in (2..).zip(lines) {
        let line = line.map_err(|error| unreadable(&error))?;
        if let Ok(End { peers }) = serde_json::from_str(&line) {
            end = Some(peers);
            break;
        }
        let peer = PeerState::from_json(&line).map_err(|rule| {
            Failure::Other(format!("line {number} {rule}; no line from there on is imported"))
        })?;
        let (store, clock) = (Arc::clone(store), clock.clone());
        let peer = with_whole_lease(peer, exported_at, clock.now());
        tasks.spawn(import_one(store, clock, peer));
        if tasks.len() >= CONCURRENT_IMPORTS
            && let Some(joined) = tasks.join_next().await
        {
            imported.count(joined.map_err(Failure::other)?)?;
        }
    }
    while let Some(joined) = tasks.join_next().await {
        imported.count(joined.map_err(Failure::other)?)?;
    }
    if end != Some(imported.stored + imported.known) {
        return Err(Failure::Other(format!(
            "the export is not complete: it has no line with the number of its peers, or another one; \
             {} peers were imported",
            imported.stored
        )));
    }
    Ok(imported)
}

/// Gives a peer that was live when it was exported a whole lease from `now`, because since the
/// export it could not send heartbeats to this store. For the same reason `proven_at`, the time at
/// which its holder last proved its identity, becomes `now`, as after a restart.
fn with_whole_lease(peer: PeerState, exported_at: Timestamp, now: Timestamp) -> PeerState {
    if !peer.standing().is_live(exported_at) {
        return peer;
    }
    let (expires_at, proven_at) = (peer.expires_at.max(now + peer.ttl), peer.proven_at.max(now));
    PeerState { expires_at, proven_at, ..peer }
}

async fn open(args: &TransferArgs) -> Result<(Arc<dyn Store>, Clock), Failure> {
    match args.store {
        StoreKind::Embedded => {
            let directory = data_directory(args.data.clone(), "--data")?;
            let limits = Limits { revival_window_millis: FOREVER_MILLIS, ..Limits::default() };
            let clock = Clock::steady();
            let (store, _) = open_embedded(Some(directory), false, &limits, clock.clone()).await?;
            Ok((store, clock))
        }
        StoreKind::Valkey => {
            let limits = Limits { revival_window_millis: FOREVER_MILLIS, ..Limits::default() };
            let ((store, _), clock) = open_valkey(&args.valkey, &Sources::default(), &limits).await?;
            Ok((store, clock))
        }
        StoreKind::Dynamodb => {
            let ((store, _), clock) =
                open_dynamodb(&args.table, &Sources::default(), &Limits::default()).await?;
            Ok((store, clock))
        }
    }
}

async fn import_one(store: Arc<dyn Store>, clock: Clock, peer: PeerState) -> Result<Import, Failure> {
    let mut retries = 0;
    loop {
        match store.import(peer.clone(), clock.now()).await {
            Ok(import) => return Ok(import),
            Err(error) => wait_for_store(error, &mut retries).await?,
        }
    }
}

/// Waits before an operation is retried, if the store is temporarily unavailable. Returns any other
/// error, and also this one after [`MAX_RETRIES`] retries.
async fn wait_for_store(error: StoreError, retries: &mut u32) -> Result<(), Failure> {
    match error {
        StoreError::Unavailable { retry_after_seconds, .. } if *retries < MAX_RETRIES => {
            *retries += 1;
            sleep(Duration::from_secs(retry_after_seconds.into())).await;
            Ok(())
        }
        error => Err(Failure::other(error)),
    }
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(line).map_err(Failure::other)?;
    Ok(writeln!(out, "{json}")?)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::Other(format!("standard input can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_live_gets_a_whole_lease_and_others_keep_their_state() {
        let line = r#"{"peer_id":"p","address":"10.0.0.1","port":1,"archetypes":[],"metadata":{},"ttl_seconds":300,"registered_at_millis":0,"last_seen_millis":100000,"proven_at_millis":100000,"expires_at_millis":400000,"source":"10.0.0.1","token_hash":"AAAAAAAAAAAAAAAAAAAAAA","token_only":false}"#;
        let peer = PeerState::from_json(line).unwrap();
        let at = Timestamp::from_secs;
        let moved = with_whole_lease(peer.clone(), at(200), at(5_000));
        assert_eq!((moved.expires_at, moved.proven_at), (at(5_300), at(5_000)));
        assert_eq!(with_whole_lease(peer.clone(), at(400), at(5_000)), peer);
        assert_eq!(with_whole_lease(peer, at(200), at(50)).expires_at, at(400));
    }
}
