//! The time of DynamoDB: the `Date` header of its responses, carried on this machine's monotonic
//! clock.
//!
//! Processes that share a table have to agree on the time, or one whose clock is a day ahead would
//! end all leases. So no process uses its own wall clock.
//!
//! The monotonic clock of Linux stops while the machine is suspended. There the time since the last
//! sample is also measured by `CLOCK_BOOTTIME`, which continues.

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

/// The time of DynamoDB at a moment, since the epoch.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Duration,
    at: Moment,
}

/// A moment on the clocks of this machine.
#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Instant,
    /// The time since the machine started, suspensions included. Zero where the system has no such
    /// clock.
    since_boot: Duration,
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), since_boot: since_boot() }
    }

    /// The time since an earlier moment. The two clocks differ by the time for which the machine
    /// was suspended.
    fn since(self, earlier: Self) -> Duration {
        let awake = self.monotonic.saturating_duration_since(earlier.monotonic);
        awake.max(self.since_boot.saturating_sub(earlier.since_boot))
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    Duration::ZERO
}

impl StoreClock {
    /// The time; the epoch before the first response.
    pub(crate) fn now(&self) -> Timestamp {
        let time = self.0.lock().map_or(Duration::ZERO, |sample| sample.carried_to(Moment::now()));
        Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether the last sample is so old that a call should be made for a new one.
    pub(crate) fn needs_sample(&self) -> bool {
        self.is_older_than(REFRESH, Moment::now())
    }

    /// Whether the last sample is too old for changes.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_older_than(MAX_AGE, Moment::now())
    }

    /// Whether there has been a sample.
    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().is_some()
    }

    fn is_older_than(&self, age: Duration, now: Moment) -> bool {
        self.0.lock().is_none_or(|sample| now.since(sample.at) >= age)
    }

    /// Takes a sample from a response with this date, to a request that was sent at `sent` and
    /// responded to at `received`.
    fn observe(&self, date: Duration, sent: Moment, received: Moment) {
        // The response was dated at some time between the two.
        let latest = date + RESOLUTION + received.since(sent);
        let mut last = self.0.lock();
        let time = match *last {
            None => date + (latest - date) / 2,
            // Responses to concurrent requests may come in any order.
            Some(sample) if sample.at.monotonic > received.monotonic => return,
            // A time that the date does not contradict stays as it is, so that the clock is steady
            // although the date has whole seconds.
            Some(sample) => sample.carried_to(received).clamp(date, latest),
        };
        *last = Some(Sample { time, at: received });
    }
}

impl Sample {
    fn carried_to(self, now: Moment) -> Duration {
        self.time + now.since(self.at)
    }
}

/// Takes a sample from each response of DynamoDB.
#[derive(Debug)]
pub(crate) struct DateReader(pub(crate) Arc<StoreClock>);

/// When an attempt was sent.
#[derive(Debug)]
struct SentAt(Moment);

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
        config.interceptor_state().store_put(SentAt(Moment::now()));
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
            self.0.observe(date.duration_since(UNIX_EPOCH).unwrap_or_default(), sent.0, Moment::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: Duration = Duration::from_secs(1_759_406_400);

    impl Moment {
        fn after(self, elapsed: Duration) -> Self {
            Self { monotonic: self.monotonic + elapsed, since_boot: self.since_boot + elapsed }
        }

        fn after_a_suspension_of(self, elapsed: Duration) -> Self {
            Self { since_boot: self.since_boot + elapsed, ..self }
        }
    }

    fn carried(clock: &StoreClock, at: Moment) -> Duration {
        clock.0.lock().unwrap().carried_to(at)
    }

    fn ages(clock: &StoreClock, now: Moment) -> [bool; 2] {
        [REFRESH, MAX_AGE].map(|age| clock.is_older_than(age, now))
    }

    #[test]
    fn before_the_first_sample_the_clock_is_stale() {
        let clock = StoreClock::default();
        assert!(clock.needs_sample() && clock.is_stale() && !clock.is_set());
        let start = Moment::now();
        clock.observe(DATE, start, start);
        assert!(clock.is_set());
        for (age, expected) in
            [(Duration::ZERO, [false, false]), (REFRESH, [true, false]), (MAX_AGE, [true, true])]
        {
            assert_eq!(ages(&clock, start.after(age)), expected, "{age:?}");
        }
    }

    #[test]
    fn the_time_continues_while_the_machine_is_suspended() {
        const HOUR: Duration = Duration::from_secs(3_600);
        let (clock, start) = (StoreClock::default(), Moment::now());
        clock.observe(DATE, start, start);
        let resumed = start.after_a_suspension_of(HOUR);
        assert_eq!(carried(&clock, resumed), DATE + RESOLUTION / 2 + HOUR);
        assert_eq!(ages(&clock, resumed), [true, true]);
        // A request that was sent before and whose response arrived afterwards says little.
        clock.observe(DATE + RESOLUTION, start, resumed);
        assert_eq!(carried(&clock, resumed), DATE + RESOLUTION / 2 + HOUR);
        let later = resumed.after(RESOLUTION);
        clock.observe(DATE + HOUR + RESOLUTION, resumed, later);
        assert_eq!(carried(&clock, later), DATE + HOUR + 3 * RESOLUTION / 2);
        assert_eq!(ages(&clock, later), [false, false]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_time_since_boot_is_at_least_the_uptime() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        assert!(since_boot().as_secs_f64() + 0.1 >= seconds && seconds > 0.0);
    }

    #[test]
    fn dates_that_do_not_contradict_the_carried_time_leave_it_unchanged() {
        let (clock, start) = (StoreClock::default(), Moment::now());
        clock.observe(DATE, start, start);
        let first = carried(&clock, start);
        assert_eq!(first, DATE + RESOLUTION / 2);
        for millis in (0..100_000).step_by(137) {
            let elapsed = Duration::from_millis(millis);
            let now = start.after(elapsed);
            clock.observe(Duration::from_secs((first + elapsed).as_secs()), now, now);
            assert_eq!(carried(&clock, now), first + elapsed, "{millis}");
        }
    }

    #[test]
    fn a_carried_time_that_a_date_contradicts_moves_to_the_nearest_possible_one() {
        let (clock, start) = (StoreClock::default(), Moment::now());
        clock.observe(DATE, start, start);
        let [sent, received] = [10, 12].map(|seconds| start.after(Duration::from_secs(seconds)));
        clock.observe(DATE + Duration::from_secs(86_400), sent, received);
        assert_eq!(carried(&clock, received), DATE + Duration::from_secs(86_400));
        clock.observe(DATE, sent, received);
        assert_eq!(carried(&clock, received), DATE + RESOLUTION + Duration::from_secs(2));
    }

    #[test]
    fn a_response_that_was_received_earlier_than_the_last_sample_is_ignored() {
        let (clock, start) = (StoreClock::default(), Moment::now());
        let later = start.after(Duration::from_secs(5));
        clock.observe(DATE, later, later);
        clock.observe(DATE + Duration::from_secs(60), start, start);
        assert_eq!(carried(&clock, later), DATE + RESOLUTION / 2);
    }
}
