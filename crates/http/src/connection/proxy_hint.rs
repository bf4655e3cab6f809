//! A hint in the log for operators who put a proxy in front of the service and did not configure
//! the number of trusted hops.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::HeaderMap;
use http::header::FORWARDED;
use tokio::time::Instant;

use crate::origin::X_FORWARDED_FOR;

/// How often the hint is repeated, in seconds. Clients can send the headers of proxies too, and
/// must not fill the log.
const REPEAT_SECONDS: u64 = 3_600;

/// Warns if a request seems to have come through a proxy that is not configured. All clients of
/// such a proxy count as one, with the proxy's address.
pub(super) struct ProxyHint {
    started: Instant,
    /// When the next hint may be written, in seconds since `started`.
    next: AtomicU64,
}

impl Default for ProxyHint {
    fn default() -> Self {
        Self { started: Instant::now(), next: AtomicU64::new(0) }
    }
}

impl ProxyHint {
    /// Looks at the headers of a request from `peer` on a service without trusted hops.
    pub(super) fn observe(&self, headers: &HeaderMap, peer: IpAddr) {
        // A request has few headers. Comparing all their names takes less time than looking up
        // these two headers by their hashes.
        let is_forwarded = headers.keys().any(|name| name == FORWARDED || name == X_FORWARDED_FOR);
        if is_forwarded && self.is_due() {
            tracing::warn!(
                client = %peer.to_canonical(),
                "a request has X-Forwarded-For or Forwarded, which is ignored: if it came through a proxy of yours, set \
                 --trusted-hops (AURORA_TRUSTED_HOPS) to the number of your proxies, or all their clients count as one, \
                 with the proxy's address"
            );
        }
    }

    fn is_due(&self) -> bool {
        let (now, next) = (self.started.elapsed().as_secs(), self.next.load(Relaxed));
        now >= next && self.next.compare_exchange(next, now + REPEAT_SECONDS, Relaxed, Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_hint_is_written_at_most_once_an_hour() {
        let hint = ProxyHint::default();
        assert!(hint.is_due() && !hint.is_due());
        tokio::time::advance(Duration::from_secs(3_599)).await;
        assert!(!hint.is_due());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(hint.is_due() && !hint.is_due());
    }
}
