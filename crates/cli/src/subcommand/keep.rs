//! `keep`.

mod program;

use std::ffi::OsString;
use std::io::{self, Write};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_client::{Event, KeeperOptions, LeaseKeeper};
use aurora_discovery_protocol::{PeerId, Timestamp};
use clap::Args;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::peer::PeerArgs;
use crate::signal::{ForwardedSignals, leave_requested, stop_requested};

/// Arguments of `keep`.
#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    #[command(flatten)]
    pub(crate) peer: PeerArgs,
    /// Take over the id if it is live and was registered from this address. Without this flag,
    /// `keep` waits until the other lease ends. A peer whose token is in --token-file needs no flag
    /// to register again. (To find out whether the id is live, `keep` sends a heartbeat with a
    /// wrong token, which changes nothing.)
    #[arg(long)]
    pub(crate) replace: bool,
    /// Print the lease token. It is a secret: any client that has it can change the registration.
    #[arg(long)]
    pub(crate) show_token: bool,
    /// How long to wait for the service when the command is stopped. The default is shorter than
    /// the 10 s after which Docker kills a container that it stops.
    #[arg(long, default_value_t = 8, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(crate) shutdown_grace: u64,
    /// A program to run while the peer is registered, with its arguments. It starts when the peer
    /// is registered, and gets the signals that `keep` gets. When it ends, the peer is
    /// deregistered, and `keep` ends with its exit code (128 plus the number of the signal that
    /// ended it). What `keep` reports then goes to standard error.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Registers a peer, keeps its lease until the command is stopped or its program ends, and
/// deregisters it.
pub(crate) async fn run(args: KeepArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let token_file = args.peer.token.file();
    let key = args.peer.key.clone();
    let registration = args.peer.registration()?;
    let grace = Duration::from_secs(args.shutdown_grace);
    let runs_program = !args.command.is_empty();
    let mut leave = pin!(leave_requested());
    let signals = runs_program.then(ForwardedSignals::receive);
    let mut may_replace = false;
    let keeper = loop {
        let mut options = key.apply(KeeperOptions::new().replace(may_replace))?;
        if let Some(file) = &token_file {
            options = options.token_file(file.path());
        }
        let (live, mut found_live) = mpsc::channel(1);
        let (registered, mut is_registered) = mpsc::channel(1);
        let mut printer = Printer {
            id: registration.peer_id.clone(),
            show_token: args.show_token,
            replaces: args.replace && !may_replace,
            live: Some(live),
            registered: runs_program.then_some(registered),
        };
        let mut keeper =
            LeaseKeeper::start_with(client.clone(), registration.clone(), options, move |event| {
                printer.print(&event);
            })?;
        tokio::select! {
            result = keeper.ended() => return Ok(result?),
            () = &mut leave => return stop(keeper, grace).await,
            // Even with `--replace`, the first keeper may not replace a live registration. If the
            // id is live, the first keeper only reports that. It is then dropped, and a second
            // keeper, which may replace the registration, is started.
            Some(()) = found_live.recv(), if args.replace && !may_replace => may_replace = true,
            Some(()) = is_registered.recv(), if runs_program => break keeper,
        }
    };
    match signals {
        Some(signals) => program::run(keeper, &args.command, signals, grace).await,
        None => stop(keeper, grace).await,
    }
}

async fn stop(keeper: LeaseKeeper, grace: Duration) -> Result<(), Failure> {
    let unanswered = |why: &str| Failure::Other(format!("{why}; the lease will expire"));
    // A user who presses Ctrl-C twice does not want to wait for a service that does not respond.
    tokio::select! {
        result = timeout(grace, keeper.stop()) => match result {
            Ok(result) => Ok(result?),
            Err(_) => Err(unanswered(&format!("the service did not respond within {} s", grace.as_secs()))),
        },
        () = stop_requested() => Err(unanswered("stopped before the service responded")),
    }
}

/// Prints the events of a keeper.
struct Printer {
    id: PeerId,
    show_token: bool,
    /// Whether, if the id turns out to be live, a second keeper will replace its registration.
    replaces: bool,
    /// Reports that the id is live. `None` once the peer is registered.
    live: Option<mpsc::Sender<()>>,
    /// Reports that the peer is registered, so that the program starts. `None` if there is no
    /// program.
    registered: Option<mpsc::Sender<()>>,
}

impl Printer {
    fn print(&mut self, event: &Event) {
        match event {
            Event::Registered(_) => {
                self.live = None;
                // Only the first report has an effect, so one that does not fit into the channel is
                // dropped.
                let _ = self.registered.as_ref().map(|registered| registered.try_send(()));
            }
            Event::Refused { retry_in: Some(_), .. } => {
                // A second report would have no effect.
                let _ = self.live.as_ref().map(|live| live.try_send(()));
            }
            _ => {}
        }
        // Standard output belongs to the program, if there is one.
        let mut out: Box<dyn Write> =
            if self.registered.is_some() { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        // If the output can't be written, the lease must still be kept.
        let _ = writeln!(out, "{} {}", now(), self.describe(event));
    }

    fn describe(&self, event: &Event) -> String {
        let id = &self.id;
        match event {
            Event::Registered(response) => {
                let (until, interval) = (response.ttl_expires, response.heartbeat_interval_seconds);
                let token = response.lease_token.as_ref().filter(|_| self.show_token);
                let token = token.map_or(String::new(), |token| format!("; lease token {}", token.as_str()));
                format!("{id} is registered until {until} UTC; heartbeats every {interval} s{token}")
            }
            Event::Renewed(response) => format!("{id} is renewed until {} UTC", response.ttl_expires),
            Event::Secured { path } => {
                format!("{id} can be changed only with the token in {}", escape(&path.to_string_lossy()))
            }
            Event::Unsecured { error } => {
                format!("{id} can still be changed without its token: {}", escape(&error.to_string()))
            }
            Event::Moved { from, to } => format!("{id} moved from {from} to {to}"),
            Event::Forgotten => format!("{id} is unknown to the service, registering again"),
            Event::TakenOver { reason } => {
                format!("{id} was taken over by another client: {}", escape(reason))
            }
            Event::Failed { error, retry_in } => {
                format!("{id}: {}; retrying in {:.1} s", escape(&error.to_string()), retry_in.as_secs_f64())
            }
            Event::Expired => {
                format!("{id} is no longer listed: its lease expired before it could be renewed")
            }
            Event::Recovered { after } => {
                format!("{id} was renewed again after {:.1} s of failures", after.as_secs_f64())
            }
            Event::Refused { reason, retry_in: Some(retry_in) } => {
                self.describe_live(&escape(reason), *retry_in)
            }
            Event::Refused { reason, retry_in: None } => format!("{id} was rejected: {}", escape(reason)),
            Event::Deregistered => format!("{id} is deregistered"),
        }
    }

    fn describe_live(&self, reason: &str, retry_in: Duration) -> String {
        let next = match (&self.live, self.replaces) {
            (Some(_), true) => "replacing its registration".to_owned(),
            _ => format!(
                "retrying in {:.1} s (--replace takes over a registration from this address)",
                retry_in.as_secs_f64()
            ),
        };
        format!("{} is held by another client: {reason}; {next}", self.id)
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_secs(since_epoch.as_secs())
}
