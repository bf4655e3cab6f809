//! `demo`: a service in the same process, and a network of peers that join, send heartbeats, find
//! each other, leave and crash.

mod names;
mod network;
mod schedule;
mod screen;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use aurora_discovery_client::{Client, ClientOptions};
use aurora_discovery_protocol::{DiscoverBounds, DiscoverRequest, Ttl};
use aurora_discovery_registry::Limits;
use clap::Args;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::failure::Failure;
use crate::output::print;
use crate::serve::MemoryService;
use crate::signal::stop_requested;
use crate::terminal::{self, LiveScreen};

use network::Network;
use schedule::Schedule;

/// The leases of the demo. They are short, so that a crashed peer expires soon.
const TTL: Ttl = Ttl::from_secs(3);
/// The number of peers that a peer requests with its registration and with each heartbeat.
const PEERS_PER_REQUEST: u32 = 5;
/// The time between two frames on the screen, and between two checks for due events.
const FRAME: Duration = Duration::from_millis(100);
/// The time between two requests for the list of live peers.
const REFRESH: Duration = Duration::from_millis(250);

/// Arguments of `demo`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DemoArgs {
    /// Stop after this time; by default the demo runs until Ctrl-C.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,
    /// Listen on this address, so that peers of yours can join the network (127.0.0.1:8080 without
    /// a value, the default endpoint of all commands). The service then keeps running when the time
    /// of --seconds is over, until Ctrl-C.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8080")]
    pub(crate) serve: Option<SocketAddr>,
    /// The number of peers in the network.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub(crate) peers: u16,
}

/// Runs the demo until its time is over or it is stopped, and prints a summary.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let listen = args.serve.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let service = MemoryService::start(limits(), listen).await?;
    let endpoint = service.endpoint();
    let options = ClientOptions::new(&endpoint).retries(0);
    let mut demo = Demo::new(Client::new(options)?, args)?;
    let time_is_up = async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    let mut stopped = pin!(stop_requested());
    let stays = tokio::select! {
        result = demo.run() => {
            result?;
            false
        }
        () = time_is_up => args.serve.is_some(),
        () = &mut stopped => false,
    };
    demo.finish().await?;
    if stays {
        print(format_args!("The peers have left; the service at {endpoint} runs until Ctrl-C"))?;
        stopped.await;
    }
    service.stop().await
}

/// The limits of the demo's service: it grants leases of a few seconds, and lists a few peers in
/// the response to a heartbeat.
fn limits() -> Limits {
    Limits {
        ttl_default: TTL,
        ttl_min: Ttl::from_secs(1),
        inline_discover: DiscoverBounds::new(PEERS_PER_REQUEST, 100),
        ..Limits::default()
    }
}

struct Demo {
    client: Client,
    network: Network,
    schedule: Schedule,
    events: mpsc::Receiver<schedule::Report>,
    /// `None` if the output is not a terminal. Then each line is printed as it is produced.
    screen: Option<LiveScreen>,
}

impl Demo {
    fn new(client: Client, args: DemoArgs) -> Result<Self, Failure> {
        let (reports, events) = mpsc::channel(schedule::MAX_REPORTS);
        // A file or a pipe gets plain lines instead of a screen that is redrawn.
        let screen = terminal::size().map(|_| LiveScreen::new());
        let demo = Self {
            network: Network::new(Instant::now()),
            schedule: Schedule::new(client.clone(), usize::from(args.peers), reports),
            client,
            events,
            screen,
        };
        if demo.screen.is_none() {
            let endpoint = demo.client.endpoint();
            writeln!(
                io::stdout(),
                "Service in memory at {endpoint}, {} peers with leases of {} s",
                args.peers,
                TTL.as_secs()
            )?;
        }
        Ok(demo)
    }

    async fn run(&mut self) -> Result<(), Failure> {
        let mut frame = interval(FRAME);
        let mut refresh = interval(REFRESH);
        for ticks in [&mut frame, &mut refresh] {
            // If the machine was suspended, ticks were missed. They are skipped, not made up for.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                Some((id, event)) = self.events.recv() => {
                    let lines = self.network.record(&id, &event, Instant::now());
                    self.print(&lines)?;
                }
                _ = frame.tick() => {
                    let lines = self.schedule.advance(&mut self.network, Instant::now());
                    self.print(&lines)?;
                    self.draw()?;
                }
                _ = refresh.tick() => {
                    let lines = self.refresh().await?;
                    self.print(&lines)?;
                }
            }
        }
    }

    /// Requests the list of peers from the service, because only the service knows whether a lease
    /// has expired.
    async fn refresh(&mut self) -> Result<Vec<String>, Failure> {
        let response = self.client.discover(&DiscoverRequest::new(1_000)).await?;
        let listed = response.page.peers.into_iter().map(|peer| peer.peer_id).collect();
        Ok(self.network.reconcile(&listed, Instant::now()))
    }

    /// Prints the lines, unless they are shown on the screen.
    fn print(&self, lines: &[String]) -> Result<(), Failure> {
        if self.screen.is_none() {
            let mut out = io::stdout().lock();
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Failure> {
        if let (Some(screen), Some(size)) = (&mut self.screen, terminal::size()) {
            let lines = screen::lines(&self.network, &self.client.endpoint(), Instant::now(), size);
            screen.draw(&lines, size)?;
        }
        Ok(())
    }

    /// Prints the summary, and deregisters all peers.
    async fn finish(mut self) -> Result<(), Failure> {
        let summary = self.network.summary(Instant::now());
        // Dropping the screen shows the terminal's cursor again.
        self.screen = None;
        writeln!(io::stdout(), "{summary}")?;
        self.schedule.stop_all().await;
        Ok(())
    }
}
