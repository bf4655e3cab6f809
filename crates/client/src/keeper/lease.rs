//! A lease as the client knows it.

use std::time::Duration;

use aurora_discovery_protocol::Ttl;
use tokio::time::Instant;

/// The minimum heartbeat interval, apart from jitter, whatever the service requests, so that no
/// response can make a peer flood the service.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// A lease. The client counts its duration from the moment before it sends the request. The service
/// starts to count later, when it handles the request. By the client's count, the lease therefore
/// never ends later than by the service's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    ends: Instant,
    /// Its duration.
    pub(super) ttl: Duration,
    /// The time between two heartbeats.
    pub(super) interval: Duration,
}

impl Lease {
    pub(super) fn new(sent_at: Instant, ttl: Ttl, interval_seconds: u32) -> Self {
        let ttl = Duration::from(ttl);
        let interval = Duration::from_secs(interval_seconds.into()).max(SHORTEST_INTERVAL);
        Self { ends: sent_at + ttl, ttl, interval }
    }

    pub(super) fn has_ended(self) -> bool {
        self.ends <= Instant::now()
    }
}
