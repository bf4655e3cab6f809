//! The time of DynamoDB: the `Date` header of its responses, carried on this machine's monotonic
//! clock.
//!
//! Processes that share a table have to agree on the time, or one whose clock is a day ahead would
//! end all leases. So no process uses its own wall clock.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aurora_discovery_protocol::Timestamp;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How old the last sample may be before the sweep makes a call for a new one. Within this time,
/// monotonic clocks of different machines drift apart by less than a millisecond.
const REFRESH: Duration = Duration::from_secs(10);
/// How old the last sample may be before changes fail. By then DynamoDB has not responded for so
/// long that they would fail anyway, unless the responses have no usable date.
const MAX_AGE: Duration = Duration::from_secs(60);
/// `Date` has whole seconds, so that the time may be up to one second later.
const RESOLUTION: Duration = Duration::from_secs(1);

/// The clock. It has no time before the first response.
#[derive(Debug, Default)]
pub(crate) struct StoreClock(Mutex<Option<Sample>>);

/// The time of DynamoDB at a moment of the monotonic clock, since the epoch.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Duration,
    at: Instant,
}

impl StoreClock {
    /// The time; the epoch before the first response.
    pub(crate) fn now(&self) -> Timestamp {
        let time = self.0.lock().map_or(Duration::ZERO, |sample| sample.carried_to(Instant::now()));
        Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether the last sample is so old that a call should be made for a new one.
    pub(crate) fn needs_sample(&self) -> bool {
        self.is_older_than(REFRESH)
    }

    /// Whether the last sample is too old for changes.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_older_than(MAX_AGE)
    }

    /// Whether there has been a sample.
    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().is_some()
    }

    fn is_older_than(&self, age: Duration) -> bool {
        self.0.lock().is_none_or(|sample| sample.at.elapsed() >= age)
    }

    /// Takes a sample from a response with this date, to a request that was sent at `sent` and
    /// responded to at `received`.
    fn observe(&self, date: Duration, sent: Instant, received: Instant) {
        // The response was dated at some time between the two.
        let latest = date + RESOLUTION + received.saturating_duration_since(sent);
        let mut last = self.0.lock();
        let time = match *last {
            None => date + (latest - date) / 2,
            // Responses to concurrent requests may come in any order.
            Some(sample) if sample.at > received => return,
            // A time that the date does not contradict stays as it is, so that the clock is steady
            // although the date has whole seconds.
            Some(sample) => sample.carried_to(received).clamp(date, latest),
        };
        *last = Some(Sample { time, at: received });
    }
}

impl Sample {
    fn carried_to(self, now: Instant) -> Duration {
        self.time + now.saturating_duration_since(self.at)
    }
}

/// Takes a sample from each response of DynamoDB.
#[derive(Debug)]
pub(crate) struct DateReader(pub(crate) Arc<StoreClock>);

/// When an attempt was sent.
#[derive(Debug)]
struct SentAt(Instant);

impl Storable for SentAt {
    type Storer = StoreReplace<Self>;
}

impl Intercept for DateReader {
    fn name(&self) -> &'static str {
        "DateReader"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(SentAt(Instant::now()));
        Ok(())
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        // A proxy on the way, which may respond itself, does not know DynamoDB's time.
        if let (Some(_), Some(date), Some(sent)) =
            (headers.get("x-amzn-requestid"), headers.get("date"), config.load::<SentAt>())
            && let Ok(date) = httpdate::parse_http_date(date)
        {
            self.0.observe(date.duration_since(UNIX_EPOCH).unwrap_or_default(), sent.0, Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: Duration = Duration::from_secs(1_759_406_400);

    fn carried(clock: &StoreClock, at: Instant) -> Duration {
        clock.0.lock().unwrap().carried_to(at)
    }

    #[test]
    fn before_the_first_sample_the_clock_is_stale() {
        let clock = StoreClock::default();
        assert!(clock.needs_sample() && clock.is_stale() && !clock.is_set());
        clock.observe(DATE, Instant::now(), Instant::now());
        assert!(!clock.needs_sample() && !clock.is_stale() && clock.is_set());
        let Some(old) = Instant::now().checked_sub(MAX_AGE) else { return };
        clock.0.lock().as_mut().unwrap().at = old;
        assert!(clock.needs_sample() && clock.is_stale() && clock.is_set());
    }

    #[test]
    fn dates_that_do_not_contradict_the_carried_time_leave_it_unchanged() {
        let (clock, start) = (StoreClock::default(), Instant::now());
        clock.observe(DATE, start, start);
        let first = carried(&clock, start);
        assert_eq!(first, DATE + RESOLUTION / 2);
        for millis in (0..100_000).step_by(137) {
            let now = start + Duration::from_millis(millis);
            let date = Duration::from_secs((first + (now - start)).as_secs());
            clock.observe(date, now, now);
            assert_eq!(carried(&clock, now), first + (now - start), "{millis}");
        }
    }

    #[test]
    fn a_carried_time_that_a_date_contradicts_moves_to_the_nearest_possible_one() {
        let (clock, start) = (StoreClock::default(), Instant::now());
        clock.observe(DATE, start, start);
        let (sent, received) = (start + Duration::from_secs(10), start + Duration::from_secs(12));
        clock.observe(DATE + Duration::from_secs(86_400), sent, received);
        assert_eq!(carried(&clock, received), DATE + Duration::from_secs(86_400));
        clock.observe(DATE, sent, received);
        assert_eq!(carried(&clock, received), DATE + RESOLUTION + Duration::from_secs(2));
    }

    #[test]
    fn a_response_that_was_received_earlier_than_the_last_sample_is_ignored() {
        let (clock, start) = (StoreClock::default(), Instant::now());
        let later = start + Duration::from_secs(5);
        clock.observe(DATE, later, later);
        clock.observe(DATE + Duration::from_secs(60), start, start);
        assert_eq!(carried(&clock, later), DATE + RESOLUTION / 2);
    }
}
