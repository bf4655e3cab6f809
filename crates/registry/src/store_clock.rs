//! The clock of a shared store, which follows the time that the store's server reports.
//!
//! Processes that share a store have to agree on the time. Otherwise, a process whose clock is a
//! day ahead would end all leases. Therefore a process does not use its own wall clock. It takes
//! samples of the server's time from the server's responses, and adds the time that this machine's
//! monotonic clock has measured since the last sample. The Lambda function is an exception: it uses
//! its wall clock, which AWS synchronizes.
//!
//! The monotonic clock of Linux stops while the machine is suspended. On Linux, the time since the
//! last sample is therefore also measured by `CLOCK_BOOTTIME`, which continues.

use std::time::Duration;

use aurora_discovery_protocol::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How old the last sample may be before a new one should be taken. Within this time, monotonic
/// clocks of different machines drift apart by less than a millisecond.
const REFRESH: Duration = Duration::from_secs(10);
/// How old the last sample may be before changes fail. If the server has not responded for so long,
/// changes fail in any case. The limit matters only for a server whose responses do not contain the
/// time.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The clock of a shared store. It has no time before the first sample.
#[derive(Debug)]
pub struct StoreClock {
    /// The unit to which the server rounds down the time that it reports.
    resolution: Duration,
    last: Mutex<Option<Sample>>,
}

/// The time of the server at a moment, since the epoch.
#[derive(Clone, Copy, Debug)]
struct Sample {
    time: Duration,
    at: Moment,
}

/// A moment on the clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    monotonic: Instant,
    /// The time since the machine started, suspensions included. Zero where the system has no such
    /// clock.
    since_boot: Duration,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), since_boot: since_boot() }
    }

    /// The time since an earlier moment. The monotonic clock leaves out the time for which the
    /// machine was suspended, so the longer of the two measured durations is returned.
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
    /// The clock of a server that reports the time in units of `resolution`, rounded down.
    pub fn new(resolution: Duration) -> Self {
        Self { resolution, last: Mutex::default() }
    }

    /// The time, or the epoch before the first sample.
    pub fn now(&self) -> Timestamp {
        let time = self.last.lock().map_or(Duration::ZERO, |sample| sample.time_at(Moment::now()));
        Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether the last sample is so old that a new one should be taken.
    pub fn needs_sample(&self) -> bool {
        self.is_older_than(REFRESH, Moment::now())
    }

    /// Whether the last sample is too old for changes.
    pub fn is_stale(&self) -> bool {
        self.is_older_than(MAX_AGE, Moment::now())
    }

    /// Whether there has been a sample.
    pub fn is_set(&self) -> bool {
        self.last.lock().is_some()
    }

    fn is_older_than(&self, age: Duration, now: Moment) -> bool {
        self.last.lock().is_none_or(|sample| now.since(sample.at) >= age)
    }

    /// Takes a sample: the time since the epoch that the server reported in response to a request.
    /// The request was sent at `sent`, and its response arrived at `received`.
    pub fn observe(&self, reported: Duration, sent: Moment, received: Moment) {
        // The server read its clock at some moment between `sent` and `received`.
        let latest = reported + self.resolution + received.since(sent);
        let mut last = self.last.lock();
        let time = match *last {
            None => reported + (latest - reported) / 2,
            // Responses to concurrent requests may come in any order. A response that is older than
            // the last sample is ignored.
            Some(sample) if sample.at.monotonic > received.monotonic => return,
            // The clock is corrected only as far as the sample contradicts it. It therefore runs
            // steadily, although the server reports the time in whole units.
            Some(sample) => sample.time_at(received).clamp(reported, latest),
        };
        *last = Some(Sample { time, at: received });
    }
}

impl Sample {
    fn time_at(self, now: Moment) -> Duration {
        self.time + now.since(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTED: Duration = Duration::from_secs(1_759_406_400);
    const RESOLUTION: Duration = Duration::from_secs(1);

    impl Moment {
        fn after(self, elapsed: Duration) -> Self {
            Self { monotonic: self.monotonic + elapsed, since_boot: self.since_boot + elapsed }
        }

        fn after_a_suspension_of(self, elapsed: Duration) -> Self {
            Self { since_boot: self.since_boot + elapsed, ..self }
        }
    }

    fn time_at(clock: &StoreClock, at: Moment) -> Duration {
        clock.last.lock().unwrap().time_at(at)
    }

    fn ages(clock: &StoreClock, now: Moment) -> [bool; 2] {
        [REFRESH, MAX_AGE].map(|age| clock.is_older_than(age, now))
    }

    #[test]
    fn before_the_first_sample_the_clock_is_stale() {
        let clock = StoreClock::new(RESOLUTION);
        assert!(clock.needs_sample() && clock.is_stale() && !clock.is_set());
        let start = Moment::now();
        clock.observe(REPORTED, start, start);
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
        let (clock, start) = (StoreClock::new(RESOLUTION), Moment::now());
        clock.observe(REPORTED, start, start);
        let resumed = start.after_a_suspension_of(HOUR);
        assert_eq!(time_at(&clock, resumed), REPORTED + RESOLUTION / 2 + HOUR);
        assert_eq!(ages(&clock, resumed), [true, true]);
        // The server may have reported the time of this response before or after the suspension, so
        // the sample does not contradict the clock.
        clock.observe(REPORTED + RESOLUTION, start, resumed);
        assert_eq!(time_at(&clock, resumed), REPORTED + RESOLUTION / 2 + HOUR);
        let later = resumed.after(RESOLUTION);
        clock.observe(REPORTED + HOUR + RESOLUTION, resumed, later);
        assert_eq!(time_at(&clock, later), REPORTED + HOUR + 3 * RESOLUTION / 2);
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
        let (clock, start) = (StoreClock::new(RESOLUTION), Moment::now());
        clock.observe(REPORTED, start, start);
        let first = time_at(&clock, start);
        assert_eq!(first, REPORTED + RESOLUTION / 2);
        for millis in (0..100_000).step_by(137) {
            let elapsed = Duration::from_millis(millis);
            let now = start.after(elapsed);
            clock.observe(Duration::from_secs((first + elapsed).as_secs()), now, now);
            assert_eq!(time_at(&clock, now), first + elapsed, "{millis}");
        }
    }

    #[test]
    fn a_carried_time_that_a_date_contradicts_moves_to_the_nearest_possible_one() {
        let (clock, start) = (StoreClock::new(RESOLUTION), Moment::now());
        clock.observe(REPORTED, start, start);
        let [sent, received] = [10, 12].map(|seconds| start.after(Duration::from_secs(seconds)));
        clock.observe(REPORTED + Duration::from_secs(86_400), sent, received);
        assert_eq!(time_at(&clock, received), REPORTED + Duration::from_secs(86_400));
        clock.observe(REPORTED, sent, received);
        assert_eq!(time_at(&clock, received), REPORTED + RESOLUTION + Duration::from_secs(2));
    }

    #[test]
    fn a_response_that_was_received_earlier_than_the_last_sample_is_ignored() {
        let (clock, start) = (StoreClock::new(RESOLUTION), Moment::now());
        let later = start.after(Duration::from_secs(5));
        clock.observe(REPORTED, later, later);
        clock.observe(REPORTED + Duration::from_secs(60), start, start);
        assert_eq!(time_at(&clock, later), REPORTED + RESOLUTION / 2);
    }

    #[test]
    fn a_server_that_tells_the_time_precisely_is_believed_within_the_round_trip() {
        let (clock, start) = (StoreClock::new(Duration::ZERO), Moment::now());
        let round_trip = Duration::from_millis(10);
        let received = start.after(round_trip);
        clock.observe(REPORTED, start, received);
        assert_eq!(time_at(&clock, received), REPORTED + round_trip / 2);
        // Another server whose clock is a second ahead.
        let (ahead, later) = (REPORTED + Duration::from_secs(1), received.after(round_trip));
        clock.observe(ahead, received, later);
        assert_eq!(time_at(&clock, later), ahead);
    }
}
