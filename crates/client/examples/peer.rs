//! The peer of `docs/tutorial.md`, which shows this program and how to run it.
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::env;
use std::error::Error;

use aurora_discovery_client::{
    Client, DiscoverRequest, LeaseKeeper, Peer, RegisterRequest, Watch, WatchEvent, tokio,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let name = env::args().nth(1).ok_or("usage: peer NAME PORT [URL]")?;
    let port = env::args().nth(2).ok_or("usage: peer NAME PORT [URL]")?.parse()?;
    let url = env::args().nth(3).unwrap_or("http://127.0.0.1:8080".to_owned());
    let client = Client::new(url)?;

    // From its first event on, the watch misses no change.
    let others = DiscoverRequest::builder().archetype("chess").exclude(&name).build()?;
    let mut watch = client.watch(others.clone());
    watch.next().await.ok_or("the watch ended")??;

    // The keeper registers the peer, and keeps its lease until it stops.
    let me = RegisterRequest::builder(&name).port(port).archetype("chess").build()?;
    let keeper = LeaseKeeper::start(client.clone(), me, |event| println!("{event:?}"));
    tokio::select! {
        met = meet(&client, &others, watch) => met?,
        _ = tokio::signal::ctrl_c() => keeper.stop().await?,
    }
    Ok(())
}

/// Prints the peers that are registered already, and then those that join and leave.
async fn meet(client: &Client, others: &DiscoverRequest, mut watch: Watch) -> Result<(), Box<dyn Error>> {
    let found = |peer: &Peer| println!("found {} at {} port {}", peer.peer_id, peer.address, peer.port);
    client.discover(others).await?.page.peers.iter().for_each(found);
    while let Some(event) = watch.next().await {
        match event? {
            WatchEvent::Joined(peer) => found(&peer),
            WatchEvent::Left(peer_id) => println!("{peer_id} left"),
            _ => {}
        }
    }
    Ok(())
}
