//! Services with several endpoints.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use aurora_discovery_client::{
    Client, ClientOptions, Event, HeartbeatRequest, LeaseKeeper, RegisterRequest, tokio,
};
use tokio::sync::mpsc;

use crate::server::{Action, ScriptedServer, ok, refuse};

const HEARTBEAT: &str = r#"{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":0}"#;
const REGISTERED: &str = r#"{"message":"Peer registered successfully","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":300,"heartbeat_interval_seconds":0,"observed_address":"127.0.0.1","lease_token":"AAAAAAAAAAAAAAAAAAAAAA"}"#;

/// The number of clients to create. Each starts at one of two endpoints, at random. The probability
/// that all start at the same endpoint is below 1 in 10^9.
const CLIENTS: usize = 32;

fn heartbeat() -> HeartbeatRequest {
    HeartbeatRequest::new("p".parse().unwrap())
}

/// Clients of both endpoints, without retries.
fn clients(one: &ScriptedServer, two: &ScriptedServer) -> Vec<Client> {
    let options = ClientOptions::with_endpoints([&one.endpoint, &two.endpoint]).retries(0);
    (0..CLIENTS).map(|_| Client::new(&options).unwrap()).collect()
}

#[tokio::test]
async fn clients_spread_over_the_endpoints_and_stay_with_one_that_works() {
    let one = ScriptedServer::start(|_, _| ok(HEARTBEAT)).await;
    let two = ScriptedServer::start(|_, _| ok(HEARTBEAT)).await;
    let clients = clients(&one, &two);
    let starts: HashSet<_> = clients.iter().map(Client::endpoint).collect();
    assert_eq!(starts.len(), 2);
    let client = &clients[0];
    let first = client.endpoint();
    for _ in 0..3 {
        client.heartbeat(&heartbeat()).await.unwrap();
        assert_eq!(client.endpoint(), first);
    }
    let received = [&one, &two].map(|server| server.received().len());
    assert!(received == [3, 0] || received == [0, 3], "{received:?}");
}

#[tokio::test]
async fn a_request_moves_on_from_an_endpoint_that_fails_without_a_wait() {
    for failure in [
        (|| Action::Respond(503, &[("retry-after", "60")], r#"{"error":"no","code":"unavailable"}"#.into()))
            as fn() -> Action,
        || Action::HangUp,
    ] {
        let failing = ScriptedServer::start(move |_, _| failure()).await;
        let working = ScriptedServer::start(|_, _| ok(HEARTBEAT)).await;
        let started = Instant::now();
        for client in clients(&failing, &working) {
            client.heartbeat(&heartbeat()).await.unwrap();
            assert_eq!(client.endpoint(), working.endpoint);
        }
        assert!(!failing.received().is_empty());
        assert!(started.elapsed() < Duration::from_secs(60), "no client waits before it moves on");
    }
}

#[tokio::test]
async fn a_health_check_that_fails_moves_the_next_one_to_another_endpoint() {
    for failure in [
        (|| Action::Respond(502, &[], "<html>".into())) as fn() -> Action, // a proxy without a service
        || Action::HangUp,
    ] {
        let failing = ScriptedServer::start(move |_, _| failure()).await;
        let working = ScriptedServer::start(|_, _| ok(r#"{"status":"healthy"}"#)).await;
        for client in clients(&failing, &working) {
            let starts_at_failing = client.endpoint() == failing.endpoint;
            assert_eq!(client.health().await.is_err(), starts_at_failing);
            client.health().await.unwrap();
            assert_eq!(client.endpoint(), working.endpoint);
        }
        assert!(!failing.received().is_empty());
    }
}

#[tokio::test]
async fn a_request_waits_only_after_every_endpoint_has_failed() {
    let one = ScriptedServer::start(|_, _| refuse(503, "unavailable")).await;
    let two = ScriptedServer::start(|_, _| refuse(503, "unavailable")).await;
    let options = ClientOptions::with_endpoints([&one.endpoint, &two.endpoint]).retries(1);
    let error = Client::new(options).unwrap().heartbeat(&heartbeat()).await.unwrap_err();
    assert_eq!(error.status(), Some(503));
    // Two rounds: the first attempts, and one retry.
    assert_eq!([&one, &two].map(|server| server.received().len()), [2, 2]);
}

#[tokio::test]
async fn a_refusal_that_another_endpoint_would_repeat_moves_no_client() {
    for (status, code) in [(429, "rate_limited"), (404, "peer_not_registered"), (403, "not_holder")] {
        let refusing = ScriptedServer::start(move |_, _| refuse(status, code)).await;
        let other = ScriptedServer::start(|_, _| ok(HEARTBEAT)).await;
        let clients = clients(&refusing, &other);
        let client = clients.iter().find(|client| client.endpoint() == refusing.endpoint).unwrap();
        assert_eq!(client.heartbeat(&heartbeat()).await.unwrap_err().status(), Some(status));
        assert_eq!(client.endpoint(), refusing.endpoint);
        assert!(other.received().is_empty());
    }
}

#[tokio::test]
async fn a_keeper_that_moves_renews_its_lease_by_its_token_and_does_not_register_again() {
    let script = |_, request: &crate::server::Received| match request.path() {
        "/register" => ok(REGISTERED),
        _ => Action::HangUp,
    };
    let registering = ScriptedServer::start(script).await;
    let other = ScriptedServer::start(|_, request| match request.path() {
        "/register" => Action::HangUp,
        _ => ok(HEARTBEAT),
    });
    let other = other.await;
    let client = Client::new([registering.endpoint.as_str(), other.endpoint.as_str()]).unwrap();
    let (sender, mut events) = mpsc::unbounded_channel();
    let registration = RegisterRequest::builder("p").build().unwrap();
    let _keeper = LeaseKeeper::start(client, registration, move |event| sender.send(event).unwrap());
    assert!(matches!(events.recv().await, Some(Event::Registered(_))));
    assert!(matches!(events.recv().await, Some(Event::Renewed(_))));
    let registrations = registering.received().iter().filter(|request| request.path() == "/register").count();
    assert_eq!(registrations, 1);
    let renewal = other.received().into_iter().find(|request| request.path() == "/heartbeat").unwrap();
    assert!(renewal.body.contains("AAAAAAAAAAAAAAAAAAAAAA"), "{}", renewal.body);
}
