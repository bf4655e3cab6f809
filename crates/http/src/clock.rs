//! The clock. Only the outermost layer owns one; all other code takes the time as an argument.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::Registry;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};

/// How often [`keep_time`] reads the clock. A steady clock treats more than a second between two
/// readings as a pause. It is therefore read several times a second, so that a short delay of the
/// process does not count as a pause.
const TICK: Duration = Duration::from_millis(250);
/// Smaller changes of the difference between a steady clock and the system's clock are ignored.
/// Both clocks are rounded to milliseconds. Without this minimum, two responses could show
/// different times for the same peer because of the rounding.
const MIN_OFFSET_CHANGE_MILLIS: u64 = 100;

/// A clock. It can be the system's clock, a steady clock, which leaves out pauses of the process,
/// the clock of a shared store, or one that a test controls.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Whether this is a steady clock. Its time may differ from that of the system's clock, so
    /// responses add the difference to it.
    is_steady: bool,
}

impl Clock {
    /// A clock that calls `read` for the time.
    pub fn new(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), is_steady: false }
    }

    /// A clock for a store that only this process uses. It starts at the system's time. From then
    /// on, neither steps of the system's clock nor pauses of the process or of the machine move it.
    /// Peers could not send heartbeats during a pause, so their leases must not end because of it.
    ///
    /// It has to be read at least once a second. The server does so.
    pub fn steady() -> Self {
        let (started, clock) = (Instant::now(), Steady::new(system_time().as_millis()));
        let read = move || Timestamp::from_millis(clock.now(|| millis(started.elapsed().as_millis())));
        Self { is_steady: true, ..Self::new(read) }
    }

    /// The current time.
    pub fn now(&self) -> Timestamp {
        (self.read)()
    }

    /// What responses add to a time of this clock to show the system's time, in milliseconds.
    pub(crate) fn offset_millis(&self) -> i64 {
        if !self.is_steady {
            return 0;
        }
        let [system, own] = [system_time(), self.now()].map(|time| i64::try_from(time.as_millis()));
        system.unwrap_or(i64::MAX).saturating_sub(own.unwrap_or(i64::MAX))
    }
}

/// Reads the clock regularly, and passes the difference between it and the system's clock to the
/// registry. Responses show the system's time, so the registry adds the difference to its times.
/// Runs until the future is dropped.
///
/// This is a task of its own. If the task that sweeps the registry read the clock, a slow sweep
/// would delay the next reading, and the clock would count the delay as a pause.
pub(crate) async fn keep_time(clock: Clock, registry: Arc<Registry>) {
    let mut shown = 0;
    let mut interval = interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let offset = clock.offset_millis();
        if offset.abs_diff(shown) >= MIN_OFFSET_CHANGE_MILLIS {
            registry.set_time_offset(offset);
            shown = offset;
        }
    }
}

impl Default for Clock {
    /// The system's clock. If it is set to a time before 1970, the time is 1970.
    fn default() -> Self {
        Self::new(system_time)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// The system's time.
fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(millis(since_epoch.as_millis()))
}

fn millis(millis: u128) -> u64 {
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// The time of a monotonic clock without its gaps. A gap is a pause of the process or of the
/// machine, in which the clock was not read. All times are in milliseconds.
struct Steady {
    /// The time of this clock when the monotonic one was at zero.
    start: u64,
    /// The monotonic time at the last reading that was recorded.
    last: AtomicU64,
    /// The sum of all gaps. It is written before `last`. A reader that sees the value of `last`
    /// from after a gap therefore also sees a sum that includes the gap.
    skipped: AtomicI64,
    /// Held while a gap is skipped, so that only one thread skips it.
    gap: Mutex<()>,
}

impl Steady {
    /// A longer time between two readings is a gap.
    const MAX_STEP: u64 = 1_000;
    /// The minimum time between two writes of `last`. If each reading wrote it, threads would
    /// contend for it.
    const MIN_STEP: u64 = 50;

    fn new(start: u64) -> Self {
        Self { start, last: AtomicU64::new(0), skipped: AtomicI64::new(0), gap: Mutex::new(()) }
    }

    /// The time of this clock. `read` reads the monotonic clock.
    fn now(&self, read: impl Fn() -> u64) -> u64 {
        loop {
            let before = self.skipped.load(Acquire);
            let mut elapsed = read();
            let last = self.last.load(Acquire);
            if elapsed.abs_diff(last) > Self::MAX_STEP {
                elapsed = self.skip_gap(&read);
            } else if elapsed >= last + Self::MIN_STEP {
                self.last.fetch_max(elapsed, AcqRel);
            }
            let skipped = self.skipped.load(Acquire);
            // If another thread has skipped a gap in the meantime, `elapsed` may be from before the
            // gap, so the clock is read again.
            if skipped == before {
                let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
                return self.start.saturating_add_signed(elapsed.saturating_sub(skipped));
            }
        }
    }

    /// Skips the gap before the current reading of the clock, and returns that reading. A step back
    /// is skipped as well: a monotonic clock does not step back by itself, but tools that fake the
    /// time can make it do so.
    fn skip_gap(&self, read: impl Fn() -> u64) -> u64 {
        let _guard = self.gap.lock();
        // The clock is read again: another thread may have skipped the gap in the meantime, and the
        // first reading of this thread may be from before the pause.
        let elapsed = read();
        let last = self.last.load(Acquire);
        if elapsed.abs_diff(last) > Self::MAX_STEP {
            let gap = i64::try_from(elapsed.abs_diff(last)).unwrap_or(i64::MAX);
            self.skipped.fetch_add(if elapsed > last { gap } else { -gap }, AcqRel);
            self.last.store(elapsed, Release);
        }
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use aurora_discovery_embedded::EmbeddedStore;
    use aurora_discovery_registry::Limits;
    use tokio::time::timeout;

    use super::*;

    const START: u64 = 1_000_000;

    #[test]
    fn time_passes_while_the_clock_is_read() {
        let clock = Steady::new(START);
        for elapsed in (0..100_000).step_by(500) {
            assert_eq!(clock.now(|| elapsed), START + elapsed);
        }
    }

    #[test]
    fn a_pause_does_not_advance_the_clock() {
        let clock = Steady::new(START);
        assert_eq!(clock.now(|| 500), START + 500);
        assert_eq!(clock.now(|| 60_500), START + 500);
        assert_eq!(clock.now(|| 60_900), START + 900);
        assert_eq!(clock.now(|| 1_000_000_000), START + 900);
    }

    #[test]
    fn a_faked_step_forward_and_back_does_not_advance_the_clock() {
        let clock = Steady::new(START);
        let day = 26 * 3_600_000;
        for (elapsed, time) in [(500, 500), (day, 500), (day + 700, 1_200), (2_000, 1_200), (2_400, 1_600)] {
            assert_eq!(clock.now(|| elapsed), START + time, "{elapsed}");
        }
    }

    fn registry() -> Arc<Registry> {
        let limits = Limits::default();
        Arc::new(Registry::new(EmbeddedStore::in_memory(limits.clone()), limits).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_clock_is_read_at_least_once_a_second() {
        let reads = Arc::new(AtomicU64::new(0));
        let count = reads.clone();
        let read = move || Timestamp::from_secs(count.fetch_add(1, Relaxed));
        let clock = Clock { is_steady: true, ..Clock::new(read) };
        let keeping = keep_time(clock, registry());
        assert!(timeout(Duration::from_secs(60), keeping).await.is_err(), "it runs until it is dropped");
        assert!(reads.load(Relaxed) >= 60, "{reads:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn responses_show_the_systems_time_while_a_steady_clock_is_behind() {
        let registry = registry();
        let behind = || Timestamp::from_millis(system_time().as_millis() - 3_600_000);
        let clock = Clock { is_steady: true, ..Clock::new(behind) };
        let keeping = keep_time(clock.clone(), registry.clone());
        let _ = timeout(Duration::from_secs(1), keeping).await;
        let shown = registry.shown(clock.now());
        assert!(system_time().millis_since(shown) < 1_000, "{shown}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_difference_of_a_few_milliseconds_is_not_shown() {
        let registry = registry();
        let behind = || Timestamp::from_millis(system_time().as_millis() - 20);
        let clock = Clock { is_steady: true, ..Clock::new(behind) };
        let _ = timeout(Duration::from_secs(1), keep_time(clock, registry.clone())).await;
        assert_eq!(registry.shown(Timestamp::from_millis(5_000)), Timestamp::from_millis(5_000));
    }

    #[test]
    fn threads_that_read_after_a_pause_skip_it_once() {
        let clock = Steady::new(START);
        clock.now(|| 500);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(clock.now(|| 90_500), START + 500));
            }
        });
    }
}
