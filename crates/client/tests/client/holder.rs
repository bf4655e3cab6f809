//! Who holds the id of a kept peer: takeovers, and registrations that do not replace another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aurora_discovery_client::{Event, KeeperOptions};
use tokio::sync::mpsc::unbounded_channel;

use crate::peer::{Clock, deregistered, keep, keep_with, registered_as, renewed_from};
use crate::server::{Action, Received, ScriptedServer, refuse};

const TTL: u32 = 300;
const INTERVAL: u32 = 100;
const HOME: &str = "192.0.2.1";

fn registered() -> Action {
    registered_as(TTL, INTERVAL, "the-token", HOME)
}

fn renewed() -> Action {
    renewed_from(TTL, INTERVAL, HOME)
}

/// A service on which another client holds the id while `taken` is true.
async fn service(taken: &Arc<AtomicBool>) -> ScriptedServer {
    let taken = Arc::clone(taken);
    ScriptedServer::start(move |_, received| match received.path() {
        _ if taken.load(Ordering::Relaxed) => refuse(403, "not_holder"),
        "/register" => registered(),
        "/heartbeat" => renewed(),
        _ => deregistered(),
    })
    .await
}

fn count(received: &[Received], path: &str) -> usize {
    received.iter().filter(|received| received.path() == path).count()
}

#[tokio::test]
async fn a_peer_whose_id_was_taken_over_reports_it_and_registers_again_when_the_other_lease_ends() {
    let clock = Clock::pause();
    let taken = Arc::new(AtomicBool::new(false));
    let server = service(&taken).await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    taken.store(true, Ordering::Relaxed);
    clock.advance(100).await;
    let Some(Event::TakenOver { reason }) = events.recv().await else { panic!("not a takeover") };
    assert!(reason.contains("not_holder"), "{reason}");
    for _ in 0..10 {
        let Some(Event::Refused { retry_in: Some(retry_in), .. }) = events.recv().await else {
            panic!("not a refusal that will be retried")
        };
        assert!(retry_in.as_secs() <= 60, "{retry_in:?}");
        clock.advance(60).await;
    }
    let before = server.received().len();
    taken.store(false, Ordering::Relaxed);
    // One more refusal may have been in transit when `taken` changed.
    let event = match events.recv().await {
        Some(Event::Refused { retry_in: Some(_), .. }) => {
            clock.advance(60).await;
            events.recv().await
        }
        event => event,
    };
    assert!(matches!(event, Some(Event::Registered(_))), "{event:?}");
    assert!(matches!(events.recv().await, Some(Event::Recovered { .. })));
    // Each attempt has the old token, so that the service refuses it while another client holds the
    // id.
    let attempts = server.received().split_off(before);
    assert!(attempts.iter().all(|received| received.body.contains(r#""lease_token":"the-token""#)));
}

#[tokio::test]
async fn a_peer_never_takes_back_a_live_registration_by_its_address() {
    let clock = Clock::pause();
    let server = ScriptedServer::start(|n, received| match (n, received.path()) {
        (0, _) => registered(),
        (_, "/heartbeat") => refuse(403, "not_holder"),
        // The service lets a registration from the holder's address replace the holder's, unless
        // the new one is token-only and lacks the current token.
        _ if received.body.contains(r#""token_only":true"#) => refuse(403, "not_holder"),
        _ => registered(),
    })
    .await;
    let (_keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    clock.advance(100).await;
    assert!(matches!(events.recv().await, Some(Event::TakenOver { .. })));
    for _ in 0..3 {
        assert!(matches!(events.recv().await, Some(Event::Refused { retry_in: Some(_), .. })));
        clock.advance(60).await;
    }
}

#[tokio::test]
async fn a_peer_that_was_taken_over_is_not_deregistered() {
    let clock = Clock::pause();
    let taken = Arc::new(AtomicBool::new(false));
    let server = service(&taken).await;
    // The keeper stops after it has noticed the takeover.
    let (keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    taken.store(true, Ordering::Relaxed);
    clock.advance(100).await;
    assert!(matches!(events.recv().await, Some(Event::TakenOver { .. })));
    assert!(matches!(events.recv().await, Some(Event::Refused { .. })));
    keeper.stop().await.unwrap();
    assert!(events.recv().await.is_none());
    // The keeper stops before it could notice the takeover.
    taken.store(false, Ordering::Relaxed);
    let (keeper, mut events) = keep(&server);
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    taken.store(true, Ordering::Relaxed);
    keeper.stop().await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::TakenOver { .. })));
    assert!(events.recv().await.is_none());
    assert_eq!(count(&server.received(), "/deregister"), 0);
}

#[tokio::test]
async fn a_keeper_that_must_not_replace_registers_an_unknown_id() {
    let server = ScriptedServer::start(|n, received| match (n, received.path()) {
        (0, "/heartbeat") => refuse(404, "peer_not_registered"),
        (_, "/register") => registered(),
        _ => renewed(),
    })
    .await;
    let (_keeper, mut events) = keep_with(&server, KeeperOptions::new().replace(false)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let received = server.received();
    assert_eq!(received.len(), 2);
    assert!(received[0].body.contains(r#""lease_token":""#), "a wrong token changes nothing");
    assert!(!received[1].body.contains("token_only"), "{}", received[1].body);
}

#[tokio::test]
async fn a_keeper_that_must_not_replace_registers_a_dormant_id_and_is_not_token_only_for_long() {
    let (sent, mut registrations) = unbounded_channel();
    let server = ScriptedServer::start(move |n, received| match (n, received.path()) {
        (0, "/heartbeat") => refuse(403, "not_holder"),
        (_, "/register") => {
            let _ = sent.send(received.body.clone());
            registered()
        }
        _ => renewed(),
    })
    .await;
    let (_keeper, mut events) = keep_with(&server, KeeperOptions::new().replace(false)).unwrap();
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    let (first, second) = (registrations.recv().await.unwrap(), registrations.recv().await.unwrap());
    assert!(first.contains(r#""token_only":true"#), "{first}");
    assert!(!second.contains("token_only") && second.contains(r#""lease_token":"the-token""#), "{second}");
}

#[tokio::test]
async fn a_keeper_that_must_not_replace_waits_for_the_end_of_a_live_lease_and_leaves_it_alone() {
    let clock = Clock::pause();
    let taken = Arc::new(AtomicBool::new(true));
    let server = service(&taken).await;
    let (keeper, mut events) = keep_with(&server, KeeperOptions::new().replace(false)).unwrap();
    for _ in 0..3 {
        assert!(matches!(events.recv().await, Some(Event::Refused { retry_in: Some(_), .. })));
        clock.advance(60).await;
    }
    keeper.stop().await.unwrap();
    let received = server.received();
    assert_eq!(count(&received, "/deregister"), 0);
    for registration in received.iter().filter(|received| received.path() == "/register") {
        assert!(registration.body.contains(r#""token_only":true"#), "{}", registration.body);
    }
}
