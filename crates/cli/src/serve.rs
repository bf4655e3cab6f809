//! `serve`: the service itself.

mod args;
mod check;
mod data;
mod memory;
mod notify;
mod reload;
mod self_signed;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;

use aurora_discovery_embedded::{EmbeddedOptions, EmbeddedStore};
use aurora_discovery_http::{Clock, Server, TlsFiles};
use aurora_discovery_registry::{Limits, Registry, Store};
use aurora_discovery_settings::{Sources, TableArgs, ValkeyArgs};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use crate::failure::Failure;
use crate::log::Log;
use crate::output::print;
use crate::settings;
use crate::signal::{ReloadSignals, StopSignals, report_file_size_limit};

pub(crate) use args::{ServeArgs, StoreKind};
pub(crate) use data::data_directory;
pub(crate) use memory::MemoryService;
use notify::{State, notify};
use reload::reload;

/// The exit code after a second signal.
const ENDED_AT_ONCE: i32 = 1;

/// Runs the service until it is asked to stop.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    if args.print_config {
        return print(args.effective.trim_end());
    }
    if args.check {
        check::check(&args)?;
        return print("the settings are valid");
    }
    // From here on, a signal leads to an orderly shutdown, and SIGHUP does not end the process.
    let stop = stop_at_signal();
    let hangups = ReloadSignals::receive();
    let log = Log::start(args.log.log.clone(), args.log_format)?;
    for warning in settings::unknown_variables() {
        tracing::warn!("{warning}");
    }
    report_file_size_limit();
    serve(args, &log, stop, hangups).await.map_err(|failure| log.report(failure))
}

/// Completes at the first signal to stop. A second signal ends the process at once. That is as safe
/// as a crash: a store that is not in memory keeps all registrations that were acknowledged.
fn stop_at_signal() -> impl Future<Output = ()> {
    let mut signals = StopSignals::receive();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(async move {
        let signal = signals.next().await;
        notify(State::Stopping);
        tracing::info!(signal, "stopping; a second signal ends the service at once");
        // Sending fails if nothing waits for the signal any more, because the service has already
        // failed.
        let _ = stop.send(());
        let signal = signals.next().await;
        tracing::warn!(signal, "ended at once; requests in progress get no response");
        process::exit(ENDED_AT_ONCE);
    });
    async {
        // This fails if the task above has ended. No signal can be received then.
        let _ = stopped.await;
    }
}

async fn serve(
    args: ServeArgs,
    log: &Log,
    stop: impl Future<Output = ()>,
    mut hangups: ReloadSignals,
) -> Result<(), Failure> {
    let mut serving = args.server.options(&args.service, &args.sources)?;

    let (limits, (store, location)) = match args.store {
        StoreKind::Embedded => {
            let mut limits = args.registry.limits(&args.sources)?;
            args.embedded.apply(&mut limits);
            // Only this process uses the store, so the store can use a clock that stands still
            // while the process or the machine is paused. No lease then ends because of a pause.
            serving.service.clock = Clock::steady();
            let (directory, clock) = (args.directory()?, serving.service.clock.clone());
            let opened = open_embedded(directory, args.drop_damaged, &limits, clock).await?;
            (limits, opened)
        }
        StoreKind::Valkey => {
            let mut limits = args.registry.limits(&args.sources)?;
            args.embedded.apply(&mut limits);
            let (opened, clock) = open_valkey(&args.valkey, &args.sources, &limits).await?;
            serving.service.clock = clock;
            (limits, opened)
        }
        StoreKind::Dynamodb => {
            let limits = args.registry.table_limits(&args.sources)?;
            let (opened, clock) = open_dynamodb(&args.table, &args.sources, &limits).await?;
            serving.service.clock = clock;
            (limits, opened)
        }
    };
    if args.tls_self_signed {
        serving.tls = Some(self_signed_certificate(&args, serving.tls.is_some())?);
    }
    let registry = Registry::new(store, limits).map_err(|error| Failure::Usage(error.to_string()))?;
    let server = Server::bind(serving, Arc::new(registry)).await.map_err(Failure::other)?;
    announce(&server, &args, &location);
    // The system accepts connections since `Server::bind`.
    notify(State::Ready);
    let (tls, keys, audit) = (server.tls(), server.keys(), server.audit_log());
    let reloading = async {
        loop {
            hangups.next().await;
            notify(State::Reloading);
            reload(log, tls.clone(), keys.clone(), audit.clone()).await;
            notify(State::Ready);
        }
    };
    tokio::select! {
        stopped = server.serve(stop) => stopped.map_err(Failure::other)?,
        () = reloading => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// The certificate of `--tls-self-signed`.
fn self_signed_certificate(args: &ServeArgs, has_another: bool) -> Result<TlsFiles, Failure> {
    let flag = args.sources.name("tls_self_signed");
    if has_another {
        return Err(Failure::flag(flag, "excludes --tls-cert and --tls-key; set only one of them"));
    }
    let Some(directory) = args.directory()? else {
        let rule = "keeps its certificate in the data directory, so it needs one; leave out --memory";
        return Err(Failure::flag(flag, rule));
    };
    self_signed::certificate(&directory, args.server.listen.ip())
}

/// A store, and a description of its location.
pub(crate) type OpenedStore = (Arc<dyn Store>, String);

/// Opens the embedded store; without a directory, in memory.
pub(crate) async fn open_embedded(
    directory: Option<PathBuf>,
    drop_damaged: bool,
    limits: &Limits,
    clock: Clock,
) -> Result<OpenedStore, Failure> {
    let location =
        directory.as_ref().map_or("in memory".to_owned(), |path| format!("data: {}", path.display()));
    let limits = limits.clone();
    let options = EmbeddedOptions { directory, limits, drop_damaged, ..EmbeddedOptions::default() };
    let opened = spawn_blocking(move || EmbeddedStore::open(options, clock.now())).await;
    let store = opened
        .map_err(|error| Failure::Other(format!("the store can't be opened: {error}")))?
        .map_err(|error| Failure::Other(error.to_string()))?;
    let restored = store.restored();
    tracing::info!(live = restored.live, dormant = restored.dormant, "opened the store");
    Ok((store, location))
}

/// Opens the store on a Valkey server. Also returns the server's clock, because the processes that
/// share the store have to agree on the time.
#[cfg(feature = "valkey")]
pub(crate) async fn open_valkey(
    valkey: &ValkeyArgs,
    sources: &Sources,
    limits: &Limits,
) -> Result<(OpenedStore, Clock), Failure> {
    let options = valkey.options(sources)?;
    let location = format!("Valkey: {}", options.name);
    if options.weak_durability {
        tracing::warn!("--valkey-weak-durability: a crash of the server may lose acknowledged registrations");
    }
    let store =
        aurora_discovery_valkey::ValkeyStore::open(options, limits.clone()).await.map_err(Failure::other)?;
    let clock = Clock::new(store.clock());
    Ok(((Arc::new(store), location), clock))
}

#[cfg(not(feature = "valkey"))]
pub(crate) async fn open_valkey(
    _: &ValkeyArgs,
    sources: &Sources,
    _: &Limits,
) -> Result<(OpenedStore, Clock), Failure> {
    Err(not_in_this_build(sources, "valkey"))
}

/// Opens the store on a DynamoDB table. Also returns DynamoDB's clock, because the processes that
/// share the table have to agree on the time.
#[cfg(feature = "dynamodb")]
pub(crate) async fn open_dynamodb(
    table: &TableArgs,
    sources: &Sources,
    limits: &Limits,
) -> Result<(OpenedStore, Clock), Failure> {
    let mut options = table.options(sources)?;
    options.store_time = true;
    let client = aurora_discovery_dynamodb::connect(&options)
        .await
        .map_err(|error| Failure::dynamodb_unavailable(&error))?;
    let location = format!("table: {}", options.table);
    let store = aurora_discovery_dynamodb::DynamoStore::new(client, options, limits);
    // The store takes the time from DynamoDB's responses, so it needs a response before it can
    // serve. If this request fails, clients get 503 until the store's periodic sweep has received a
    // response.
    if let Err(error) = store.health().await {
        tracing::warn!(cause = %error, "the table does not respond yet");
    }
    let clock = Clock::new(store.clock());
    Ok(((Arc::new(store), location), clock))
}

#[cfg(not(feature = "dynamodb"))]
pub(crate) async fn open_dynamodb(
    _: &TableArgs,
    sources: &Sources,
    _: &Limits,
) -> Result<(OpenedStore, Clock), Failure> {
    Err(not_in_this_build(sources, "dynamodb"))
}

#[cfg(not(all(feature = "dynamodb", feature = "valkey")))]
fn not_in_this_build(sources: &Sources, feature: &str) -> Failure {
    let rule = format!("{feature} is not in this build; build the command with `--features {feature}`");
    let name = sources.name("store");
    // `export` and `import` record no sources. `Sources::name` then returns the id of the setting
    // instead of its flag.
    Failure::flag(if name == "store" { "--store" } else { name }, rule)
}

/// Prints the address of the service on standard output, so that a script that requested a
/// free port can read it.
fn announce(server: &Server, args: &ServeArgs, location: &str) {
    let scheme = if server.tls().is_some() { "https" } else { "http" };
    if let Err(error) = print_addresses(server, args, scheme, location) {
        tracing::warn!(address = %server.local_addr(), cause = %error, "can't write the address to standard output");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        address = %server.local_addr(),
        scheme,
        store = location,
        "started"
    );
    if scheme == "http" && !server.local_addr().ip().is_loopback() && args.server.trusted_hops == 0 {
        tracing::warn!(
            "serves plain HTTP to other machines: anyone on the network path can read lease tokens; \
             set --tls-cert and --tls-key, or --trusted-hops behind a proxy that terminates TLS"
        );
    }
    warn_of_few_connections(server, args);
}

fn print_addresses(server: &Server, args: &ServeArgs, scheme: &str, location: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "aurora-discovery listening on {scheme}://{} ({location})", server.local_addr())?;
    if let Some(address) = server.metrics_addr() {
        writeln!(out, "metrics on http://{address}/metrics")?;
    }
    if let Some(tls) = server.tls().filter(|_| args.tls_self_signed) {
        writeln!(out, "clients trust this service with --ca-cert {}", tls.path().display())?;
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
