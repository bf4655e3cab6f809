//! Two peers that find each other: they register, watch and discover. The program takes the URL of
//! the service as an argument or from `AURORA_URL`:
//!
//! ```sh
//! cargo run --example two_peers -- http://127.0.0.1:8080
//! ```
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::env;
use std::error::Error;

use aurora_discovery_client::{Client, DiscoverRequest, LeaseKeeper, RegisterRequest, WatchEvent, tokio};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).or_else(|| env::var("AURORA_URL").ok());
    let client = Client::new(url.unwrap_or("http://127.0.0.1:8080".to_owned()))?;

    // Watch the chess players. Once the stream has started, it misses no change.
    let mut watch = client.watch(DiscoverRequest::builder().archetype("chess").build()?);
    while !matches!(watch.next().await.ok_or("the watch ended")??, WatchEvent::Started) {}

    // Two peers register. Their leases are renewed until they stop.
    let mut keepers = Vec::new();
    for (id, port) in [("alice", 9001), ("bob", 9002)] {
        let registration = RegisterRequest::builder(id)
            .port(port)
            .archetype("chess")
            .metadata(r#"{"version": "1.0.0"}"#)
            .build()?;
        keepers.push(LeaseKeeper::start(client.clone(), registration, move |event| {
            println!("{id}: {event:?}");
        }));
    }

    // The watch reports both of them.
    let mut joined = 0;
    while joined < 2 {
        match watch.next().await.ok_or("the watch ended")?? {
            WatchEvent::Joined(peer) => {
                println!("{} joined", peer.peer_id);
                joined += 1;
            }
            other => println!("{other:?}"),
        }
    }

    // Each discovers the other.
    for id in ["alice", "bob"] {
        let others = DiscoverRequest::builder().archetype("chess").exclude(id).build()?;
        for peer in client.discover(&others).await?.page.peers {
            println!("{id} found {} at {} port {}", peer.peer_id, peer.address, peer.port);
        }
    }

    // They deregister. Without this, their leases would end by themselves.
    for keeper in keepers {
        keeper.stop().await?;
    }
    Ok(())
}
