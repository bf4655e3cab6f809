//! Whether and when to retry a failed request.

use std::time::Duration;

use crate::{ClientOptions, Error};

/// The upper bound of the first wait. It doubles with each further wait.
const FIRST_CEILING: Duration = Duration::from_millis(200);
/// The maximum of that upper bound. Longer waits would delay callers without relieving the service
/// further.
const HIGHEST_CEILING: Duration = Duration::from_secs(10);

/// The retry policy of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    retries: u32,
    patience: Duration,
}

impl Retry {
    pub(crate) fn new(options: &ClientOptions) -> Self {
        Self { retries: options.retries, patience: options.patience }
    }

    /// Whether another attempt may start when `elapsed` has passed since the first one.
    pub(crate) fn has_time(self, elapsed: Duration) -> bool {
        elapsed < self.patience
    }

    /// The wait before the next attempt, or `None` if there must not be one. `failed` is the number
    /// of failed rounds over all endpoints, and `elapsed` the time since the first attempt. `error`
    /// is the failure of the last attempt, and `random` is from 0 to 1.
    pub(crate) fn wait(self, failed: u32, elapsed: Duration, error: &Error, random: f64) -> Option<Duration> {
        if failed > self.retries || !error.is_transient() {
            return None;
        }
        let jitter = full_jitter(failed, FIRST_CEILING, HIGHEST_CEILING, random);
        // All clients that were refused may have received the same `Retry-After`. The jitter on top
        // spreads their retries out.
        let wait = error.retry_after().map_or(jitter, |delay| delay.saturating_add(jitter));
        (elapsed.saturating_add(wait) < self.patience).then_some(wait)
    }
}

/// A uniform random wait below an upper bound. The bound doubles with each failure, from `first` to
/// `highest`.
pub(crate) fn full_jitter(failed: u32, first: Duration, highest: Duration, random: f64) -> Duration {
    let doublings = failed.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(highest).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::{Code, ErrorBody, Refusal};

    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> Error {
        let body = Box::new(ErrorBody::from(Refusal::new(Code::Unavailable, "no")));
        Error::Refused { status, body, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn retry() -> Retry {
        Retry { retries: 3, patience: Duration::from_secs(30) }
    }

    #[test]
    fn waits_are_uniform_below_a_bound_that_doubles_up_to_a_maximum() {
        let highest = |failed| full_jitter(failed, FIRST_CEILING, HIGHEST_CEILING, 1.0).as_millis();
        assert_eq!([1, 2, 3, 7, 60, u32::MAX].map(highest), [200, 400, 800, 10_000, 10_000, 10_000]);
        assert_eq!(full_jitter(7, FIRST_CEILING, HIGHEST_CEILING, 0.0), Duration::ZERO);
        assert_eq!(full_jitter(2, FIRST_CEILING, HIGHEST_CEILING, 0.5).as_millis(), 200);
    }

    #[test]
    fn only_transient_failures_are_retried_and_a_bounded_number_of_times() {
        for status in [429, 500, 502, 503, 504] {
            assert!(retry().wait(3, Duration::ZERO, &refused(status, None), 0.5).is_some(), "{status}");
            assert!(retry().wait(4, Duration::ZERO, &refused(status, None), 0.5).is_none(), "{status}");
        }
        for status in [400, 403, 404, 405, 413, 501] {
            assert!(retry().wait(1, Duration::ZERO, &refused(status, None), 0.5).is_none(), "{status}");
        }
    }

    #[test]
    fn retry_after_is_honored_unless_it_exceeds_the_patience() {
        let error = refused(503, Some(20));
        let wait = retry().wait(1, Duration::ZERO, &error, 0.5).unwrap();
        assert_eq!(wait, Duration::from_millis(20_100));
        assert_eq!(retry().wait(1, Duration::from_secs(10), &error, 0.5), None);
    }
}
