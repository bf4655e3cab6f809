//! Peers that the Rust client keeps registered. Each client knows the URLs of several services.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aurora_discovery_client::{
    Address, Client, ClientOptions, Event, LeaseKeeper, PeerId, RegisterRequest, Ttl,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use crate::synthetic;

/// Keeps peers registered. At the end, prints the counts after each second as JSON.
#[derive(clap::Args)]
pub(crate) struct Keepers {
    /// The services; every client knows all of them.
    #[arg(long = "endpoint", required = true)]
    endpoints: Vec<String>,
    #[arg(long, default_value_t = 10_000)]
    peers: u64,
    /// The clients, each of which keeps some of the peers.
    #[arg(long, default_value_t = 500)]
    clients: u64,
    #[arg(long, default_value_t = 60)]
    ttl_seconds: u32,
    #[arg(long, default_value_t = 180)]
    seconds: u64,
}

/// Lease keepers start in groups of this many, one group per interval, so that not all peers
/// register at the same moment.
const STARTED_AT_ONCE: u64 = 20;
const START_INTERVAL: Duration = Duration::from_millis(10);

/// Counts of events since the start.
#[derive(Default)]
struct Counts {
    registered: AtomicU64,
    renewed: AtomicU64,
    /// The service did not know the peer, or the lease had ended.
    lost: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    fn count(&self, event: &Event) {
        let counter = match event {
            Event::Registered(_) => &self.registered,
            Event::Renewed(_) => &self.renewed,
            Event::Forgotten | Event::Expired => &self.lost,
            Event::Failed { .. } => &self.failed,
            Event::Refused { .. } | Event::TakenOver { .. } => &self.refused,
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The counts, in the order in which `bench/drive/survival.py` reads them.
    fn values(&self) -> [u64; 5] {
        [&self.registered, &self.renewed, &self.lost, &self.failed, &self.refused]
            .map(|count| count.load(Relaxed))
    }
}

impl Keepers {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.keep())
    }

    async fn keep(self) -> Result<(), Box<dyn Error>> {
        let clients = (0..self.clients)
            .map(|_| Client::new(ClientOptions::with_endpoints(&self.endpoints)))
            .collect::<Result<Vec<_>, _>>()?;
        let counts = Arc::new(Counts::default());
        let mut keepers = Vec::new();
        for (peer, client) in (0..self.peers).zip(clients.iter().cycle()) {
            let registration = RegisterRequest {
                address: Address::parse(&synthetic::address(peer).to_string())?,
                port: 9_000,
                ttl: Some(Ttl::from_secs(self.ttl_seconds)),
                ..RegisterRequest::new(PeerId::parse(&synthetic::peer_id(peer))?)
            };
            let counts = Arc::clone(&counts);
            keepers.push(LeaseKeeper::start(client.clone(), registration, move |event| counts.count(&event)));
            if peer % STARTED_AT_ONCE == 0 {
                sleep(START_INTERVAL).await;
            }
        }
        while counts.registered.load(Relaxed) < self.peers {
            sleep(START_INTERVAL).await;
        }
        println!("ready");
        let began = Instant::now();
        let mut seconds = Vec::new();
        for second in 1..=self.seconds {
            sleep_until(began + Duration::from_secs(second)).await;
            seconds.push(json!({ "counts": counts.values(), "clients": self.clients_at(&clients) }));
        }
        println!("{}", json!({ "peers": self.peers, "clients": self.clients, "seconds": seconds }));
        Ok(())
    }

    /// The number of clients at each service.
    fn clients_at(&self, clients: &[Client]) -> Vec<Value> {
        let at = |endpoint: &String| clients.iter().filter(|client| client.endpoint() == *endpoint).count();
        self.endpoints.iter().map(at).map(Value::from).collect()
    }
}
