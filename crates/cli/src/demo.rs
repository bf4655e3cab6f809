//! `demo`: a service in the same process, and a network of peers that join, send heartbeats, find
//! each other, leave and crash.

mod cast;
mod network;
mod screen;
mod stage;

use std::io::{self, Write as _};
use std::time::Duration;

use aurora_discovery_client::{Client, ClientOptions};
use aurora_discovery_protocol::{DiscoverBounds, DiscoverRequest, Ttl};
use aurora_discovery_registry::Limits;
use clap::Args;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::failure::Failure;
use crate::serve::MemoryService;
use crate::signal::stop_requested;
use crate::terminal::{self, Picture};

use network::Network;
use stage::Stage;

/// The leases of the demo. They are short, so that a crashed peer expires soon.
const TTL: Ttl = Ttl::from_secs(3);
/// The number of peers that a peer requests with each heartbeat.
const ASKED: u32 = 5;
/// The time between two frames of the picture, and between two checks for due events.
const FRAME: Duration = Duration::from_millis(100);
/// The time between two requests for the list of live peers.
const LOOK: Duration = Duration::from_millis(250);

/// Arguments of `demo`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DemoArgs {
    /// End after this time; left out: at Ctrl-C.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,
    /// How many peers the network has at a time.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(2..=200))]
    pub(crate) peers: u16,
}

/// Runs the demo until its time is over or it is stopped, and prints a summary.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    let service = MemoryService::start(limits()).await?;
    let endpoint = service.endpoint();
    let options = ClientOptions::new(&endpoint).retries(0);
    let mut demo = Demo::new(Client::new(options)?, args)?;
    let over = async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = demo.play() => result?,
        () = over => {}
        () = stop_requested() => {}
    }
    demo.finish().await?;
    service.stop().await
}

/// The limits of the demo's service: leases of a few seconds, and all peers on one machine.
fn limits() -> Limits {
    Limits {
        ttl_default: TTL,
        ttl_min: Ttl::from_secs(1),
        inline_discover: DiscoverBounds { default: ASKED, max: 100 },
        ..Limits::default()
    }
}

struct Demo {
    client: Client,
    network: Network,
    stage: Stage,
    events: mpsc::Receiver<stage::Report>,
    /// The picture, if the output is a terminal. Otherwise each line is printed as it is produced.
    picture: Option<Picture>,
}

impl Demo {
    fn new(client: Client, args: DemoArgs) -> Result<Self, Failure> {
        let (reports, events) = mpsc::channel(stage::MOST_REPORTS);
        let picture = terminal::size().map(|_| Picture::new());
        let demo = Self {
            network: Network::new(Instant::now()),
            stage: Stage::new(client.clone(), usize::from(args.peers), reports),
            client,
            events,
            picture,
        };
        if demo.picture.is_none() {
            let endpoint = demo.client.endpoint();
            writeln!(
                io::stdout(),
                "A service in memory at {endpoint}, and {} peers with leases of {} s",
                args.peers,
                TTL.as_secs()
            )?;
        }
        Ok(demo)
    }

    async fn play(&mut self) -> Result<(), Failure> {
        let mut frame = interval(FRAME);
        let mut look = interval(LOOK);
        for ticks in [&mut frame, &mut look] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                Some((id, event)) = self.events.recv() => {
                    let told = self.network.happened(&id, &event, Instant::now());
                    self.tell(&told)?;
                }
                _ = frame.tick() => {
                    let told = self.stage.act(&mut self.network, Instant::now());
                    self.tell(&told)?;
                    self.draw()?;
                }
                _ = look.tick() => {
                    let told = self.look().await?;
                    self.tell(&told)?;
                }
            }
        }
    }

    /// Requests the list of peers from the service, which alone knows when a lease has expired.
    async fn look(&mut self) -> Result<Vec<String>, Failure> {
        let answer = self.client.discover(&DiscoverRequest::new(1_000)).await?;
        let listed = answer.page.peers.into_iter().map(|peer| peer.peer_id).collect();
        Ok(self.network.listed(&listed, Instant::now()))
    }

    /// Without a picture, which would show the lines itself, prints the lines.
    fn tell(&self, told: &[String]) -> Result<(), Failure> {
        if self.picture.is_none() {
            let mut out = io::stdout().lock();
            told.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        Ok(())
    }

    fn draw(&mut self) -> Result<(), Failure> {
        if let (Some(picture), Some(size)) = (&mut self.picture, terminal::size()) {
            let lines = screen::lines(&self.network, &self.client.endpoint(), Instant::now(), size);
            picture.draw(&lines, size)?;
        }
        Ok(())
    }

    /// Prints the summary, and lets all peers leave.
    async fn finish(mut self) -> Result<(), Failure> {
        let summary = self.network.summary(Instant::now());
        // This restores the cursor before the last line is written.
        self.picture = None;
        writeln!(io::stdout(), "{summary}")?;
        self.stage.end().await;
        Ok(())
    }
}
