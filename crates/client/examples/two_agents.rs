//! Two agents that find each other and talk over TCP. Each listens on a port of its own, registers
//! that port, looks for another agent, and greets it:
//!
//! ```sh
//! cargo run --package aurora-discovery-client --example two_agents -- http://127.0.0.1:8080
//! ```
#![allow(clippy::print_stdout, reason = "an example prints what it does")]

use std::env;
use std::error::Error;
use std::time::Duration;

use aurora_discovery_client::{
    Client, DiscoverRequest, LeaseKeeper, Peer, RegisterRequest, WatchEvent, tokio,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::time::timeout;

/// Agents find each other by an archetype.
const GREETERS: &str = "greeter";
/// The longest greeting that an agent reads, in bytes. Any program can connect, so an agent must
/// not read without a limit.
const MAX_BYTES: u64 = 1_024;
const LIMIT: Duration = Duration::from_secs(5);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let url = env::args().nth(1).or_else(|| env::var("AURORA_URL").ok());
    let client = Client::new(url.unwrap_or("http://127.0.0.1:8080".to_owned()))?;
    // An agent stays until the other one has found it too.
    let everyone_is_done = Barrier::new(2);
    tokio::try_join!(agent(&client, "ada", &everyone_is_done), agent(&client, "grace", &everyone_is_done))?;
    Ok(())
}

/// One agent: it listens, registers, waits for another one, and greets it.
async fn agent(client: &Client, name: &'static str, everyone_is_done: &Barrier) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let answering = tokio::spawn(answer(name, listener));
    // The watch begins before the first list, so that it misses no peer that joins in between.
    let others = DiscoverRequest::builder().archetype(GREETERS).exclude(name).build()?;
    let mut watch = client.watch(others.clone());
    watch.next().await.ok_or("the watch ended")??;
    let registration = RegisterRequest::builder(name).port(port).archetype(GREETERS).build()?;
    let keeper = LeaseKeeper::start(client.clone(), registration, |_| {});
    let mut found = client.discover(&others).await?.page.peers.into_iter().next();
    while found.is_none() {
        if let WatchEvent::Joined(peer) = watch.next().await.ok_or("the watch ended")?? {
            found = Some(peer);
        }
    }
    if let Some(peer) = found {
        println!("{name} found {} at {} port {}", peer.peer_id, peer.address, peer.port);
        println!("{} answered {name}: {}", peer.peer_id, timeout(LIMIT, greet(name, &peer)).await??);
    }
    everyone_is_done.wait().await;
    keeper.stop().await?;
    answering.abort();
    Ok(())
}

/// Answers greetings.
async fn answer(name: &str, listener: TcpListener) -> Outcome<()> {
    loop {
        let (connection, _) = listener.accept().await?;
        match timeout(LIMIT, respond(name, connection)).await {
            Ok(Ok(greeting)) => println!("{name} heard: {greeting}"),
            Ok(Err(error)) => println!("{name} could not answer: {error}"),
            Err(_) => println!("{name} heard nothing"),
        }
    }
}

/// Reads a greeting to its end, and answers it.
async fn respond(name: &str, mut connection: TcpStream) -> Outcome<String> {
    let greeting = read(&mut connection).await?;
    connection.write_all(format!("welcome, I am {name}").as_bytes()).await?;
    connection.shutdown().await?;
    Ok(greeting)
}

/// Connects to another agent, greets it, and returns its answer.
async fn greet(name: &str, peer: &Peer) -> Outcome<String> {
    let mut connection = TcpStream::connect((peer.address.to_string(), peer.port)).await?;
    connection.write_all(format!("hello from {name}").as_bytes()).await?;
    connection.shutdown().await?;
    read(&mut connection).await
}

async fn read(connection: &mut TcpStream) -> Outcome<String> {
    let mut text = String::new();
    connection.take(MAX_BYTES).read_to_string(&mut text).await?;
    Ok(text)
}
