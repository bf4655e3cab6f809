//! `serve`: the service itself.

mod args;
mod data;
mod memory;

use std::io::{self, Write as _};
use std::sync::Arc;

use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_http::{Clock, Server};
use aurora_discovery_registry::{Limits, Registry, Store};
use tokio::task::spawn_blocking;

use crate::failure::Failure;
<<<<<<< HEAD
use crate::settings;
use crate::signal::stop_requested;
=======
use crate::signal::{report_file_size_limit, stop_requested};
>>>>>>> i12-data

pub(crate) use args::ServeArgs;
use args::StoreKind;
pub(crate) use memory::MemoryService;

/// Runs the service until it is asked to stop.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    crate::log::start(args.log.log.clone(), args.log_format)?;
    for warning in settings::unknown_variables() {
        tracing::warn!("{warning}");
    }
    // From here on, a signal leads to an orderly shutdown.
    let stop = stop_requested();
    report_file_size_limit();
    let mut serving = args.server.options(&args.service, &args.sources)?;

    let (limits, (store, location)) = match args.store {
        StoreKind::Embedded => {
            let mut limits = args.registry.limits(&args.sources)?;
            args.embedded.apply(&mut limits);
            // Only this process uses the store, so that its pauses need not count against peers.
            serving.service.clock = Clock::steady();
            let opened = open_embedded(&args, &limits, serving.service.clock.clone()).await?;
            (limits, opened)
        }
        StoreKind::Dynamodb => {
            let limits = args.registry.table_limits(&args.sources)?;
            let (opened, clock) = open_dynamodb(&args, &limits).await?;
            serving.service.clock = clock;
            (limits, opened)
        }
    };
    let registry = Registry::new(store, limits).map_err(|error| Failure::Usage(error.to_string()))?;
    let server = Server::bind(serving, Arc::new(registry)).await.map_err(Failure::other)?;
    if let Err(error) = announce(&server, &args, &location) {
        tracing::warn!(address = %server.local_addr(), "cannot write the address to standard output: {error}");
    }
    warn_of_few_connections(&server, &args);
    server.serve(stop).await.map_err(Failure::other)
}

/// A store, and a description of its location.
type OpenedStore = (Arc<dyn Store>, String);

async fn open_embedded(args: &ServeArgs, limits: &Limits, clock: Clock) -> Result<OpenedStore, Failure> {
    let directory = args.directory()?;
    let location =
        directory.as_ref().map_or("in memory".to_owned(), |path| format!("data: {}", path.display()));
    let (limits, drop_damaged) = (limits.clone(), args.drop_damaged);
    let options = EmbeddedOptions { directory, limits, drop_damaged, ..EmbeddedOptions::default() };
    let opened = spawn_blocking(move || EmbeddedStore::open(options, clock.now())).await;
    let store = opened
        .map_err(|error| Failure::Other(format!("the store can't be opened: {error}")))?
        .map_err(|error| Failure::Other(error.to_string()))?;
    let restored = store.restored();
    tracing::info!(live = restored.live, dormant = restored.dormant, "opened the store");
    Ok((store, location))
}

/// Also returns the clock of DynamoDB. The processes that share a table have to agree on the time.
#[cfg(feature = "dynamodb")]
async fn open_dynamodb(args: &ServeArgs, limits: &Limits) -> Result<(OpenedStore, Clock), Failure> {
    let mut options = args.table.options(&args.sources)?;
    options.store_time = true;
    let client = aurora_discovery_dynamodb::connect(&options)
        .await
        .map_err(|error| Failure::dynamodb_unavailable(&error))?;
    let location = format!("table: {}", options.table);
    let store = aurora_discovery_dynamodb::DynamoStore::new(client, options, limits);
    // The first response tells the time. Without one, requests get 503 until the sweep has it.
    if let Err(error) = store.health().await {
        tracing::warn!(cause = %error, "the table does not respond yet");
    }
    let clock = Clock::new(store.clock());
    Ok(((Arc::new(store), location), clock))
}

#[cfg(not(feature = "dynamodb"))]
async fn open_dynamodb(args: &ServeArgs, _: &Limits) -> Result<(OpenedStore, Clock), Failure> {
    let rule = "dynamodb is not in this build; build the command with `--features dynamodb`";
    Err(Failure::flag(args.sources.name("store"), rule))
}

/// Prints the address of the service on standard output, so that a script that requested a
/// free port can read it.
fn announce(server: &Server, args: &ServeArgs, location: &str) -> io::Result<()> {
    let scheme = if args.server.tls_cert.is_some() { "https" } else { "http" };
    let mut out = io::stdout().lock();
    writeln!(out, "aurora-discovery listening on {scheme}://{} ({location})", server.local_addr())?;
    if let Some(address) = server.metrics_addr() {
        writeln!(out, "metrics on http://{address}/metrics")?;
    }
    out.flush()
}

fn warn_of_few_connections(server: &Server, args: &ServeArgs) {
    let (granted, wanted) = (server.max_connections(), args.server.max_connections);
    if u32::try_from(granted).is_ok_and(|granted| granted < wanted) {
        let files = server.open_files();
        tracing::warn!(
            connections = granted,
            open_files = files.granted,
            "the system allows too few open files for {wanted} connections; raise `ulimit -n` to {}",
            files.wanted
        );
    }
}
