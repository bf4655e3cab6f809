//! The lease keeper.

use aurora_discovery_client::{Client, ClientOptions, Event, LeaseKeeper};
use aurora_discovery_protocol::{PeerId, RegisterRequest};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::server::{Act, Scripted, Seen, ok, refuse};

fn registered(ttl: u32) -> Act {
    ok(format!(
        r#"{{"message":"Peer registered successfully","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":{ttl},"heartbeat_interval_seconds":0,"observed_address":"127.0.0.1","lease_token":"the-token"}}"#
    ))
}

fn renewed(ttl: u32) -> Act {
    ok(format!(
        r#"{{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":{ttl},"heartbeat_interval_seconds":0}}"#
    ))
}

fn left() -> Act {
    ok(r#"{"message":"Peer deregistered","peer_id":"p"}"#)
}

fn path(seen: &Seen) -> &str {
    seen.line.split(' ').nth(1).unwrap()
}

fn keep(server: &Scripted) -> (LeaseKeeper, UnboundedReceiver<Event>) {
    let options = ClientOptions { retries: 0, ..ClientOptions::new(&server.endpoint) };
    let (sender, events) = unbounded_channel();
    let registration = RegisterRequest::new(PeerId::parse("p").unwrap());
    let keeper = LeaseKeeper::start(Client::new(&options).unwrap(), registration, move |event| {
        let _ = sender.send(event);
    });
    (keeper, events)
}

#[tokio::test]
async fn a_kept_lease_is_registered_once_and_renewed_until_it_is_left() {
    let server = Scripted::start(|_, seen| match path(seen) {
        "/register" => registered(300),
        "/heartbeat" => renewed(300),
        _ => left(),
    })
    .await;
    let (keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    keeper.stop().await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Left)));
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|seen| path(seen) == "/register").count(), 1);
    assert_eq!(seen.last().unwrap().body, r#"{"peer_id":"p","lease_token":"the-token"}"#);
}

#[tokio::test]
async fn a_forgotten_peer_registers_again_with_its_token() {
    let server = Scripted::start(|n, seen| match path(seen) {
        "/register" => registered(300),
        "/heartbeat" if n == 1 => refuse(404, "peer_not_registered"),
        _ => renewed(300),
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Forgotten)));
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    assert!(server.seen()[2].body.contains(r#""lease_token":"the-token""#));
}

#[tokio::test]
async fn a_keeper_goes_on_through_failures_past_the_end_of_its_lease() {
    let server = Scripted::start(|n, seen| match (n, path(seen)) {
        (_, "/register") => registered(1),
        (1..6, _) => Act::HangUp,
        _ => renewed(1),
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let mut failures = 0;
    let mut lost = 0;
    loop {
        match events.recv().await.unwrap() {
            Event::Failed { .. } => failures += 1,
            Event::Lost => lost += 1,
            Event::Renewed(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(events.recv().await, Some(Event::Recovered { .. })));
    assert_eq!((failures, lost <= 1), (5, true));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_reported_lost_once() {
    let server = Scripted::start(|_, seen| match path(seen) {
        "/register" => registered(0),
        _ => Act::HangUp,
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
    assert!(matches!(events.recv().await, Some(Event::Lost)));
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
}

#[tokio::test]
async fn a_registration_that_can_never_be_taken_ends_the_keeper() {
    let server = Scripted::start(|_, _| refuse(400, "invalid_field")).await;
    let (mut keeper, mut events) = keep(&server);
    assert!(keeper.ended().await.is_err());
    assert!(matches!(events.recv().await, Some(Event::Refused { .. })));
    assert!(keeper.stop().await.is_ok());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_id_that_somebody_else_holds_is_tried_again() {
    let server =
        Scripted::start(|n, _| if n == 0 { refuse(403, "not_holder") } else { registered(300) }).await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Failed { .. })));
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Recovered { .. })));
}

#[tokio::test]
async fn a_dropped_keeper_leaves_as_a_crash_would() {
    let server = Scripted::start(|_, _| registered(300)).await;
    let (keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    drop(keeper);
    assert!(events.recv().await.is_none());
    assert_eq!(server.seen().len(), 1);
}
