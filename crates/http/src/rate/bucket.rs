//! Token buckets by key, with governor's algorithm.
//!
//! governor's own keyed store has no maximum number of keys, and its default hasher takes longer
//! than the rest of a check.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Rate;

/// The maximum number of keys with a bucket. They take 2 MB. Idle keys are removed twice a second,
/// and a service handles about this many requests in that time. A key beyond the maximum is not
/// limited: if it were refused, a few attackers could shut out all other clients. The networks of
/// such a source have buckets of their own and still are limited.
const MAX_KEYS: usize = 50_000;

/// A token bucket for each key.
pub(crate) struct Buckets<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, States<K>, Elapsed, NoOpMiddleware<Nanos>>,
    states: States<K>,
    quota: Quota,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets that are `factor` times as large as `rate`. `None` if the rate or the factor is 0,
    /// which means no limit.
    pub(crate) fn new(rate: Rate, factor: u32) -> Option<Self> {
        let per_second = NonZeroU32::new(rate.per_second.saturating_mul(factor))?;
        let burst = NonZeroU32::new(rate.burst.saturating_mul(factor)).unwrap_or(NonZeroU32::MIN);
        Some(Self::of(Quota::per_second(per_second).allow_burst(burst)))
    }

    /// Buckets of `count` tokens, which fill in a minute.
    pub(crate) fn per_minute(count: u32) -> Self {
        Self::of(Quota::per_minute(NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)))
    }

    fn of(quota: Quota) -> Self {
        let states = States::default();
        let limiter = RateLimiter::new(quota, States(states.0.clone()), Elapsed::default());
        Self { limiter, states, quota }
    }

    /// Takes `count` tokens, or returns how long it takes until there are enough. A count above the
    /// size of a bucket takes the whole bucket.
    pub(crate) fn take(&self, key: &K, count: NonZeroU32) -> Result<(), Duration> {
        match self.limiter.check_key_n(key, count.min(self.quota.burst_size())) {
            // The outer error means that the count is above the size of the bucket. `min` rules
            // that out.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(until)) => Err(until.wait_time_from(self.limiter.clock().now())),
        }
    }

    /// Checks that there are `count` tokens, or returns how long it takes until there are enough.
    /// No tokens are taken.
    pub(crate) fn check(&self, key: &K, count: NonZeroU32) -> Result<(), Duration> {
        // The state of a bucket is the time at which it is full again. Each token that is taken
        // moves this time later by one interval. If this time is `burst` intervals from now, the
        // bucket is empty. There are therefore enough tokens if taking them would move this time to
        // at most `burst` intervals from now. If it would be later, the excess is the time to wait.
        let (burst, interval) = (self.quota.burst_size(), self.quota.replenish_interval());
        let now = Duration::from(self.limiter.clock().now());
        let full_at = self.states.0.lock().get(key).map_or(now, |full_at| Duration::from(*full_at).max(now));
        let missing = full_at + interval * count.min(burst).get();
        match missing.saturating_sub(now + interval * burst.get()) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Takes `count` tokens for work whose cost was not known before it was done. Missing tokens
    /// become a debt: [`take`](Self::take) fails until the bucket has refilled enough to cover it.
    pub(crate) fn charge(&self, key: &K, count: u32) {
        if count > 0 {
            let time = self.quota.replenish_interval().saturating_mul(count);
            self.states.delay(key, self.limiter.clock().now(), time.into());
        }
    }

    /// Removes the buckets that are full again.
    pub(super) fn forget_idle(&self) {
        self.limiter.retain_recent();
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> usize {
        self.limiter.len()
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Buckets<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// A clock that returns the time since the buckets were made. It uses tokio's time, which tests can
/// advance.
struct Elapsed(Instant);

impl Default for Elapsed {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Elapsed {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

/// The time at which the bucket of each key is full again, for at most [`MAX_KEYS`] keys.
struct States<K>(Arc<Mutex<HashMap<K, Nanos>>>);

impl<K> Default for States<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> States<K> {
    /// Moves the time at which a bucket is full again later by `time`.
    fn delay(&self, key: &K, now: Nanos, time: Nanos) {
        let mut states = self.0.lock();
        let has_room = states.len() < MAX_KEYS;
        match states.get_mut(key) {
            Some(full_at) => *full_at = (*full_at).max(now) + time,
            None if has_room => _ = states.insert(key.clone(), now + time),
            None => {}
        }
    }
}

impl<K: Hash + Eq + Clone> StateStore for States<K> {
    type Key = K;

    /// Passes the state of a key to `decide`, governor's algorithm, and stores the state that it
    /// returns. If `decide` refuses the request, the state stays as it is.
    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut states = self.0.lock();
        if let Some(state) = states.get_mut(key) {
            let (outcome, next) = decide(Some(*state))?;
            *state = next;
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        if states.len() < MAX_KEYS {
            states.insert(key.clone(), next);
        }
        Ok(outcome)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for States<K> {
    fn retain_recent(&self, full_before: Nanos) {
        self.0.lock().retain(|_, full_at| u64::from(*full_at) > u64::from(full_before));
    }

    fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    #[tokio::test(start_paused = true)]
    async fn the_number_of_buckets_is_bounded() {
        let buckets = Buckets::new(Rate { per_second: 1, burst: 1 }, 1).unwrap();
        for key in 0..2 * MAX_KEYS {
            assert_eq!(buckets.take(&key, ONE), Ok(()));
        }
        assert_eq!(buckets.keys(), MAX_KEYS);
        assert!(buckets.take(&0, ONE).is_err(), "the bucket of a known key is kept");
        tokio::time::advance(Duration::from_secs(3)).await;
        buckets.forget_idle();
        assert_eq!(buckets.keys(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_debt_is_paid_before_tokens_are_given_again() {
        let buckets = Buckets::new(Rate { per_second: 10, burst: 20 }, 1).unwrap();
        assert_eq!(buckets.take(&"known", ONE), Ok(()));
        for key in ["known", "unknown"] {
            buckets.charge(&key, 59);
        }
        // The debt is 40 of the 60 tokens, and the next request needs one more.
        assert_eq!(buckets.check(&"known", ONE), Err(Duration::from_millis(4_100)));
        assert_eq!(buckets.take(&"known", ONE), Err(Duration::from_millis(4_100)));
        assert_eq!(buckets.take(&"unknown", ONE), Err(Duration::from_millis(4_000)));
        tokio::time::advance(Duration::from_millis(4_100)).await;
        assert_eq!((buckets.check(&"known", ONE), buckets.take(&"known", ONE)), (Ok(()), Ok(())));
        assert!(buckets.take(&"known", ONE).is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        buckets.charge(&"known", 0);
        assert_eq!(buckets.take(&"known", NonZeroU32::new(20).unwrap()), Ok(()), "a bucket is not overfull");
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_that_is_not_full_is_kept() {
        let buckets = Buckets::new(Rate { per_second: 10, burst: 100 }, 1).unwrap();
        let all = NonZeroU32::new(100).unwrap();
        assert_eq!(buckets.take(&"idle", ONE), Ok(()));
        assert_eq!(buckets.take(&"busy", all), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        buckets.forget_idle();
        assert_eq!(buckets.keys(), 1);
        assert_eq!(buckets.take(&"busy", NonZeroU32::new(10).unwrap()), Ok(()));
        assert_eq!(buckets.take(&"busy", ONE), Err(Duration::from_millis(100)));
    }
}
