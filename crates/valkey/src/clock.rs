//! The time of Valkey: its `TIME`, carried on this machine's monotonic clock.
//!
//! Processes that share a registry have to agree on the time, or one whose clock is a day ahead would
//! end all leases. So no process uses its own wall clock.
//!
//! The monotonic clock of Linux stops while the machine is suspended. There the time since the last
//! sample is also measured by `CLOCK_BOOTTIME`, which continues.

use std::time::Duration;

use aurora_discovery_protocol::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How old the last sample may be before a new one is taken. Within this time, monotonic clocks of
/// different machines drift apart by less than a millisecond.
const REFRESH: Duration = Duration::from_secs(10);
/// How old the last sample may be before changes fail.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The clock. It has no time before the first sample.
#[derive(Debug, Default)]
pub(crate) struct StoreClock(Mutex<Option<Sample>>);

/// The time of the server at a moment, since the epoch.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Duration,
    at: Moment,
}

/// A moment on the clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    monotonic: Instant,
    /// The time since the machine started, suspensions included. Zero where the system has no such
    /// clock.
    since_boot: Duration,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), since_boot: since_boot() }
    }

    /// The time since an earlier moment. The two clocks differ by the time for which the machine was
    /// suspended.
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
    /// The time; the epoch before the first sample.
    pub(crate) fn now(&self) -> Timestamp {
        let time = self.0.lock().map_or(Duration::ZERO, |sample| sample.carried_to(Moment::now()));
        Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether a new sample should be taken.
    pub(crate) fn needs_sample(&self) -> bool {
        self.is_older_than(REFRESH, Moment::now())
    }

    /// Whether the last sample is too old for changes.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_older_than(MAX_AGE, Moment::now())
    }

    fn is_older_than(&self, age: Duration, now: Moment) -> bool {
        self.0.lock().is_none_or(|sample| now.since(sample.at) >= age)
    }

    /// Takes the time that the server told in response to a request, which was sent at `sent` and
    /// answered at `received`.
    pub(crate) fn observe(&self, told: Duration, sent: Moment, received: Moment) {
        // The server told the time at some moment between the two.
        let latest = told + received.since(sent);
        let mut last = self.0.lock();
        let time = match *last {
            None => told + (latest - told) / 2,
            // A time that the sample does not contradict stays as it is, so that the clock is steady.
            Some(sample) => sample.carried_to(received).clamp(told, latest),
        };
        *last = Some(Sample { time, at: received });
    }
}

impl Sample {
    fn carried_to(self, now: Moment) -> Duration {
        self.time + now.since(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: Duration = Duration::from_secs(1_759_406_400);

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

    #[test]
    fn before_the_first_sample_the_clock_is_stale() {
        let clock = StoreClock::default();
        assert!(clock.needs_sample() && clock.is_stale());
        assert_eq!(clock.now(), Timestamp::default());
    }

    #[test]
    fn the_clock_continues_between_samples_and_while_the_machine_is_suspended() {
        let (clock, start) = (StoreClock::default(), Moment::now());
        clock.observe(TOLD, start, start);
        let later = Duration::from_secs(7);
        assert_eq!(carried(&clock, start.after(later)), TOLD + later);
        assert_eq!(carried(&clock, start.after_a_suspension_of(later)), TOLD + later);
        let ages = [REFRESH, MAX_AGE].map(|age| clock.is_older_than(age, start.after(REFRESH)));
        assert_eq!(ages, [true, false]);
    }

    #[test]
    fn a_sample_moves_the_clock_only_if_it_contradicts_it() {
        let (clock, start) = (StoreClock::default(), Moment::now());
        let round_trip = Duration::from_millis(10);
        let received = start.after(round_trip);
        clock.observe(TOLD, start, received);
        assert_eq!(carried(&clock, received), TOLD + round_trip / 2);
        // Another server whose clock is a second ahead.
        let ahead = TOLD + Duration::from_secs(1);
        clock.observe(ahead, received, received.after(round_trip));
        assert_eq!(carried(&clock, received.after(round_trip)), ahead);
        // One that is not ahead by more than the round trip.
        clock.observe(ahead, received, received.after(round_trip));
        assert_eq!(carried(&clock, received.after(round_trip)), ahead);
    }
}
