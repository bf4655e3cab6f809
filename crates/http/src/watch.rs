//! The streams of `/watch`: how they begin and end, and how many there may be.

mod budget;
mod frame;
mod stream;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_registry::Watcher;
use tokio::sync::watch;

use crate::budget::{Share, SourceBudget};
use crate::connection::state::StreamGuard;
use crate::metrics::Metrics;
use crate::options::ServiceOptions;

use budget::{ByteBudget, StreamBudget};
use stream::EventStream;

/// All streams of `/watch`.
pub(crate) struct Watchers {
    /// Permits for open streams, and for requests to `/mailbox` that wait.
    permits: Arc<SourceBudget>,
    keep_alive: Duration,
    bytes: Arc<ByteBudget>,
    metrics: Arc<Metrics>,
    /// Signals that all streams, and all requests that wait for mail, are to end.
    end: watch::Sender<bool>,
}

impl Watchers {
    pub(crate) fn new(options: &ServiceOptions, metrics: Arc<Metrics>) -> Self {
        Self {
            permits: SourceBudget::new(options.max_watchers),
            keep_alive: options.watch_keep_alive,
            bytes: Arc::new(ByteBudget::new(options.watch_bytes_per_second)),
            metrics,
            end: watch::Sender::new(false),
        }
    }

    /// A permit for one stream to `address`, or for one request from it that waits for mail. `None`
    /// if the limit of watchers is reached: in total, for the source or for its network.
    pub(crate) fn permit(&self, address: IpAddr) -> Option<Share> {
        self.permits.take(address, 1)
    }

    /// A stream of the changes that `watching` returns. `connection` is the guard by which the
    /// stream reports its progress to its connection, if the transport has one.
    pub(crate) fn stream(
        &self,
        watching: Watcher,
        permit: Share,
        connection: Option<StreamGuard>,
    ) -> EventStream {
        EventStream::new(
            watching,
            permit,
            self.keep_alive,
            StreamBudget::new(self.bytes.clone()),
            self.ended(),
            self.metrics.clone(),
            connection,
        )
    }

    /// Completes when all streams, and all requests that wait for mail, are to end.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut end = self.end.subscribe();
        async move {
            // If the sender was dropped, no signal to end can arrive any more, so this future never
            // completes.
            if end.wait_for(|end| *end).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// How often a stream without changes sends a comment.
    pub(crate) fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// Ends all streams and all requests that wait for mail. Clients reconnect on their own.
    pub(crate) fn end(&self) {
        self.end.send_replace(true);
    }
}
