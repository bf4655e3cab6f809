//! When a call is tried again.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::error::CallError;

/// Attempts of one call, the first included. The verb's deadline usually ends them first.
const ATTEMPTS: u32 = 8;
/// The longest pause before the second attempt; each further one is up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause between attempts, so that a deadline of seconds holds several.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// What the retries of all calls together may cost before calls must succeed again: while a service is down, most calls
/// then fail at their first attempt instead of multiplying its load.
const BUDGET: u32 = 500;
/// What a retry costs; what it does if nothing answered; and what a call that succeeds at once gives back.
const COST: u32 = 5;
const COST_OF_SILENCE: u32 = 10;
const RETURN: u32 = 1;

/// The retries of one client.
#[derive(Debug)]
pub(super) struct Retries {
    left: AtomicU32,
}

impl Default for Retries {
    fn default() -> Self {
        Self { left: AtomicU32::new(BUDGET) }
    }
}

impl Retries {
    /// Runs attempts until one succeeds, fails for good, or no further one is granted.
    pub(super) async fn run<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>> + Send,
    {
        let mut paid = 0;
        for nth in 1.. {
            match attempt().await {
                Ok(answer) => {
                    self.give_back(paid.max(RETURN));
                    return Ok(answer);
                }
                Err(error) => {
                    let cost = if error == CallError::TimedOut { COST_OF_SILENCE } else { COST };
                    if nth == ATTEMPTS || !error.passes() || !self.pay(cost) {
                        return Err(error);
                    }
                    paid = cost;
                }
            }
            // Anywhere up to the longest: callers that failed together do not come back together.
            tokio::time::sleep(longest_pause(nth).mul_f64(fastrand::f64())).await;
        }
        Err(CallError::TimedOut)
    }

    fn pay(&self, cost: u32) -> bool {
        let paid =
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        paid.is_ok()
    }

    fn give_back(&self, amount: u32) {
        let fuller = |left: u32| (left < BUDGET).then(|| (left + amount).min(BUDGET));
        // A full budget stays as it is.
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fuller);
    }
}

fn longest_pause(nth: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << (nth - 1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::error::Refusal;
    use super::*;

    fn refused(status: u16) -> CallError {
        CallError::Refused(Refusal { status, code: String::new(), message: String::new(), item: None })
    }

    async fn attempts(retries: &Retries, outcome: impl Fn(u32) -> Result<(), CallError>) -> (u32, bool) {
        let count = Cell::new(0);
        let ended = retries
            .run(|| {
                count.set(count.get() + 1);
                std::future::ready(outcome(count.get()))
            })
            .await;
        (count.get(), ended.is_ok())
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_tried_again_and_not_forever() {
        let retries = Retries::default();
        assert_eq!(attempts(&retries, |_| Err(refused(400))).await, (1, false));
        assert_eq!(attempts(&retries, |n| if n < 3 { Err(refused(500)) } else { Ok(()) }).await, (3, true));
        assert_eq!(attempts(&retries, |_| Err(refused(500))).await, (ATTEMPTS, false));
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_succeeds_calls_soon_end_at_their_first_attempt_and_successes_earn_retries_back() {
        let retries = Retries::default();
        for _ in 0..BUDGET / COST_OF_SILENCE / (ATTEMPTS - 1) + 1 {
            attempts(&retries, |_| Err(CallError::TimedOut)).await;
        }
        assert_eq!(attempts(&retries, |_| Err(CallError::TimedOut)).await, (1, false));
        for _ in 0..COST_OF_SILENCE {
            assert_eq!(attempts(&retries, |_| Ok(())).await, (1, true));
        }
        assert_eq!(attempts(&retries, |_| Err(CallError::TimedOut)).await, (2, false));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<_> = (1..ATTEMPTS).map(|nth| longest_pause(nth).as_millis()).collect();
        assert_eq!(pauses, [25, 50, 100, 200, 400, 800, 800]);
    }
}
