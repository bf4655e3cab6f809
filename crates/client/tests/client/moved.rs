//! A kept peer whose address changes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use aurora_discovery_client::{Client, ClientOptions, Event, KeeperOptions, LeaseKeeper, RegisterRequest};
use tokio::sync::mpsc::unbounded_channel;

use crate::peer::{Clock, keep, registered_as, renewed_from};
use crate::server::{Received, ScriptedServer, refuse};

const TTL: u32 = 300;
const INTERVAL: u32 = 100;
const HOME: &str = "192.0.2.1";
const AWAY: &str = "192.0.2.2";

/// A service that sees the peer at this address.
async fn service(address: &Arc<Mutex<&'static str>>, refuses_moves: bool) -> ScriptedServer {
    let address = Arc::clone(address);
    ScriptedServer::start(move |n, received| match received.path() {
        "/register" if n > 0 && refuses_moves => refuse(503, "registry_full"),
        "/register" => registered_as(TTL, INTERVAL, "the-token", *address.lock().unwrap()),
        _ => renewed_from(TTL, INTERVAL, *address.lock().unwrap()),
    })
    .await
}

fn registrations(server: &ScriptedServer) -> Vec<Received> {
    server.received().into_iter().filter(|received| received.path() == "/register").collect()
}

#[tokio::test]
async fn a_peer_that_two_heartbeats_saw_at_a_new_address_registers_there_at_most_once_a_lease() {
    let clock = Clock::pause();
    let address = Arc::new(Mutex::new(HOME));
    let server = service(&address, false).await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    *address.lock().unwrap() = AWAY;
    for _ in 0..2 {
        assert_eq!(registrations(&server).len(), 1);
        clock.advance(100).await;
        assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    }
    let Some(Event::Moved { from, to }) = events.recv().await else { panic!("not moved") };
    assert_eq!([from, to], [HOME, AWAY].map(|address| address.parse::<IpAddr>().unwrap()));
    assert!(registrations(&server)[1].body.contains(r#""lease_token":"the-token""#));
    // The peer is back at its first address, less than a lease after it moved.
    *address.lock().unwrap() = HOME;
    for _ in 0..2 {
        clock.advance(100).await;
        assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    }
    assert_eq!(registrations(&server).len(), 2);
    // When the next heartbeat is due, the keeper registers instead.
    clock.advance(100).await;
    assert!(matches!(events.recv().await, Some(Event::Moved { .. })));
    assert_eq!(registrations(&server).len(), 3);
}

#[tokio::test]
async fn a_peer_whose_new_address_is_refused_keeps_its_lease() {
    let clock = Clock::pause();
    let address = Arc::new(Mutex::new(HOME));
    let server = service(&address, true).await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    *address.lock().unwrap() = AWAY;
    for _ in 0..2 {
        clock.advance(100).await;
        assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    }
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
    clock.advance(1).await;
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert!(matches!(events.recv().await, Some(Event::Recovered { .. })));
    clock.advance(100).await;
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert_eq!(registrations(&server).len(), 2);
}

#[tokio::test]
async fn a_peer_that_publishes_an_address_never_moves() {
    let clock = Clock::pause();
    let address = Arc::new(Mutex::new(HOME));
    let server = service(&address, false).await;
    let client = Client::new(ClientOptions::new(&server.endpoint).retries(0)).unwrap();
    let registration = RegisterRequest::builder("p").address("peer.example").build().unwrap();
    let (sender, mut events) = unbounded_channel();
    let _keeper = LeaseKeeper::start(client, registration, move |event| {
        let _ = sender.send(event);
    });
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    *address.lock().unwrap() = AWAY;
    for _ in 0..4 {
        clock.advance(100).await;
        assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    }
    assert_eq!(registrations(&server).len(), 1);
}

#[tokio::test]
async fn a_peer_that_publishes_an_address_does_not_move_when_it_registers_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("p.token");
    // The first registration comes from home, and the one that makes the peer token-only from away.
    let server = ScriptedServer::start(|n, received| match received.path() {
        "/register" => registered_as(TTL, INTERVAL, "the-token", if n == 0 { HOME } else { AWAY }),
        _ => renewed_from(TTL, INTERVAL, AWAY),
    })
    .await;
    let client = Client::new(ClientOptions::new(&server.endpoint).retries(0)).unwrap();
    let registration = RegisterRequest::builder("p").address("peer.example").build().unwrap();
    let (sender, mut events) = unbounded_channel();
    let options = KeeperOptions::new().token_file(&path);
    let _keeper = LeaseKeeper::start_with(client, registration, options, move |event| {
        let _ = sender.send(event);
    });
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Secured { .. })));
    assert_eq!(registrations(&server).len(), 2);
}
