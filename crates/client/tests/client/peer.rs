//! The kept peer of the tests: the responses that it gets, its events, and its clock.

use std::sync::mpsc;
use std::time::Duration;

use aurora_discovery_client::{
    Client, ClientOptions, Error, Event, KeeperOptions, LeaseKeeper, RegisterRequest,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time;

use crate::server::{Action, ScriptedServer, ok};

pub(crate) fn registered(ttl: u32) -> Action {
    registered_as(ttl, 0, "the-token", "127.0.0.1")
}

pub(crate) fn registered_as(ttl: u32, interval: u32, token: &str, observed: &str) -> Action {
    ok(format!(
        r#"{{"message":"Peer registered successfully","peer_id":"p","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":{ttl},"heartbeat_interval_seconds":{interval},"observed_address":"{observed}","lease_token":"{token}"}}"#
    ))
}

/// The response of a service of an older version, which does not report the observed address.
pub(crate) fn renewed(ttl: u32) -> Action {
    ok(format!(
        r#"{{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":{ttl},"heartbeat_interval_seconds":0}}"#
    ))
}

pub(crate) fn renewed_from(ttl: u32, interval: u32, observed: &str) -> Action {
    ok(format!(
        r#"{{"message":"Heartbeat updated","peer_id":"p","timestamp":"2025-10-02T12:00:00","ttl_expires":"2025-10-02T12:05:00","ttl_seconds":{ttl},"heartbeat_interval_seconds":{interval},"observed_address":"{observed}"}}"#
    ))
}

pub(crate) fn deregistered() -> Action {
    ok(r#"{"message":"Peer deregistered","peer_id":"p"}"#)
}

/// Keeps the peer `p`.
pub(crate) fn keep(server: &ScriptedServer) -> (LeaseKeeper, UnboundedReceiver<Event>) {
    keep_with(server, KeeperOptions::new()).unwrap()
}

pub(crate) fn keep_with(
    server: &ScriptedServer,
    options: KeeperOptions,
) -> Result<(LeaseKeeper, UnboundedReceiver<Event>), Error> {
    let client = Client::new(ClientOptions::new(&server.endpoint).retries(0)).unwrap();
    let registration = RegisterRequest::builder("p").build().unwrap();
    let (sender, events) = unbounded_channel();
    let keeper = LeaseKeeper::start_with(client, registration, options, move |event| {
        let _ = sender.send(event);
    })?;
    Ok((keeper, events))
}

/// A clock that only the test moves. By itself, tokio advances a paused clock whenever all tasks
/// wait, even if they wait for the network. A running blocking task prevents that.
pub(crate) struct Clock {
    _running: mpsc::Sender<()>,
}

impl Clock {
    pub(crate) fn pause() -> Self {
        time::pause();
        let (running, ended) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || ended.recv());
        Self { _running: running }
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        time::advance(Duration::from_secs(seconds)).await;
    }
}
