//! The stages of a shutdown, and the wait for the last connections.
//!
//! If the server closes a connection while a client sends a request on it, the client gets no
//! response. HTTP/1 can't rule that out when the server closes an idle connection. Therefore a
//! shutdown begins with a drain: the server still accepts and responds, but each response says
//! `connection: close`, and HTTP/2 connections get GOAWAY. Busy clients thus close their
//! connections by themselves, and load balancers see `/readyz` fail. Only connections that stayed
//! idle during the drain are closed by the server.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use crate::service::Service;

/// How often the log reports what a shutdown waits for.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How far the shutdown of the server has proceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The server was not asked to stop.
    Serving,
    /// The server accepts connections and responds, and asks clients to close their connections.
    Draining,
    /// The server accepts no connections, and closes those without requests.
    Stopping,
}

/// The stage of the server, for requests and connections.
#[derive(Debug)]
pub(crate) struct Shutdown {
    stage: watch::Sender<Stage>,
    /// The same as `stage > Serving`. Each request reads it, and a lock would cost more.
    is_draining: AtomicBool,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { stage: watch::Sender::new(Stage::Serving), is_draining: AtomicBool::new(false) }
    }
}

impl Shutdown {
    /// Enters a stage.
    pub(crate) fn enter(&self, stage: Stage) {
        self.is_draining.store(stage > Stage::Serving, Relaxed);
        self.stage.send_replace(stage);
    }

    /// Whether clients are asked to close their connections.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// The stage, for a task that waits for it.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }
}

/// Completes when the server reaches `stage` or a later one. Never completes if the server was
/// dropped before that.
pub(crate) async fn reached(mut stages: watch::Receiver<Stage>, stage: Stage) {
    if stages.wait_for(|current| *current >= stage).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until all connections have ended, and cancels those that are left after `grace`.
pub(crate) async fn end_connections(mut connections: JoinSet<()>, service: &Service, grace: Duration) {
    let mut reports = interval_at(Instant::now() + REPORT_INTERVAL, REPORT_INTERVAL);
    let all_ended = async {
        while !connections.is_empty() {
            tokio::select! {
                _ = connections.join_next() => {}
                _ = reports.tick() => report(connections.len(), service),
            }
        }
    };
    if timeout(grace, all_ended).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            requests = service.metrics.requests_in_progress(),
            "closed connections whose requests exceeded the grace period of the shutdown"
        );
        connections.shutdown().await;
    }
}

fn report(connections: usize, service: &Service) {
    let requests = service.metrics.requests_in_progress();
    tracing::info!(connections, requests, "the shutdown waits for the last connections to end");
}
