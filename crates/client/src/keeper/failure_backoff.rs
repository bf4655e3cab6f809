//! The failures since the last success, and how long to wait after each.

use std::time::Duration;

use tokio::time::Instant;

use super::lease::Lease;
use crate::Error;
use crate::retry::full_jitter;

/// The upper bound of the first wait after a failure. It can be short, because a failure is
/// reported only after the client's own retries.
const FIRST_CEILING: Duration = Duration::from_secs(1);
/// While there is no lease: the upper bound of a random wait, and the longest `Retry-After` that is
/// honored.
const HIGHEST_CEILING: Duration = Duration::from_secs(60);
/// The longest `Retry-After` that is honored while another client holds the id. That client's lease
/// may last longer, but it may also end earlier, because the client can deregister at any time.
const LONGEST_WAIT_FOR_HOLDER: Duration = Duration::from_secs(300);

/// Counts the failures since the last success, and computes the wait after each.
#[derive(Debug)]
pub(super) struct FailureBackoff {
    /// The time of the first failure.
    pub(super) since: Instant,
    failures: u32,
    /// Whether the end of the lease was reported.
    is_expired: bool,
}

impl FailureBackoff {
    /// Begins with the first failure, now.
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), failures: 0, is_expired: false }
    }

    /// Counts a failure. Returns the time until the next attempt.
    ///
    /// `Retry-After` is capped at one heartbeat interval, or at [`HIGHEST_CEILING`] while there is
    /// no lease. The random wait is added to it.
    pub(super) fn after_failure(&mut self, error: &Error, lease: Option<Lease>) -> Duration {
        let highest = lease.map_or(HIGHEST_CEILING, |lease| lease.interval);
        self.failures = self.failures.saturating_add(1);
        let pause = pause(self.failures, highest, lease.is_some_and(Lease::has_ended), fastrand::f64());
        honor_retry_after(error, highest, pause)
    }

    /// Counts a refusal because another client holds the id. Returns the time until the next
    /// attempt.
    pub(super) fn after_not_holder(&mut self, error: &Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = pause(self.failures, HIGHEST_CEILING, false, fastrand::f64());
        honor_retry_after(error, LONGEST_WAIT_FOR_HOLDER, pause)
    }

    /// Whether the end of the lease has to be reported, which happens at most once until the next
    /// success.
    pub(super) fn reports_end_of(&mut self, lease: Option<Lease>) -> bool {
        let was_expired = self.is_expired;
        self.is_expired |= lease.is_some_and(Lease::has_ended);
        self.is_expired && !was_expired
    }
}

/// The wait of `Retry-After`, at most `longest`, plus `pause`, which spreads out clients that
/// received the same value. Without `Retry-After`, only `pause`.
fn honor_retry_after(error: &Error, longest: Duration, pause: Duration) -> Duration {
    error.retry_after().map_or(pause, |delay| delay.min(longest).saturating_add(pause))
}

/// The wait after a failure. Until a lease has ended, the first retries follow quickly, so that the
/// peer is registered soon or its lease is renewed in time. After the end of the lease, retries are
/// about as frequent as heartbeats, because quick retries of all clients would overload a service
/// that comes back after a long outage.
fn pause(failures: u32, highest: Duration, is_expired: bool, random: f64) -> Duration {
    if is_expired {
        highest.mul_f64(f64::midpoint(1.0, random))
    } else {
        full_jitter(failures, FIRST_CEILING, highest, random)
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::{Code, ErrorBody, Refusal};

    use super::*;

    #[test]
    fn retries_are_fast_while_the_lease_runs_and_as_frequent_as_heartbeats_after_it_has_ended() {
        let interval = Duration::from_secs(100);
        assert!(pause(1, interval, false, 1.0) <= FIRST_CEILING);
        assert!(pause(20, interval, false, 0.01) <= interval / 50);
        assert_eq!([0.0, 1.0].map(|random| pause(20, interval, true, random)), [interval / 2, interval]);
    }

    #[tokio::test]
    async fn an_id_that_another_client_holds_is_tried_again_at_the_end_of_its_lease() {
        let refused = |seconds: Option<u64>| Error::Refused {
            status: 403,
            body: Box::new(ErrorBody::from(Refusal::new(Code::NotHolder, "held"))),
            retry_after: seconds.map(Duration::from_secs),
        };
        let first = FailureBackoff::new().after_not_holder(&refused(Some(200)));
        assert!((200..=201).contains(&first.as_secs()), "{first:?}");
        let capped = FailureBackoff::new().after_not_holder(&refused(Some(86_400)));
        assert!(capped <= LONGEST_WAIT_FOR_HOLDER + FIRST_CEILING, "{capped:?}");
        let mut backoff = FailureBackoff::new();
        for _ in 0..20 {
            assert!(backoff.after_not_holder(&refused(None)) <= HIGHEST_CEILING);
        }
    }
}
