//! The endpoints of one service, and the one that requests go to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// The minimum time before a client returns to the endpoint that it started at. The maximum is
/// twice as long. The time is random, so that the clients of an endpoint that was down do not
/// return to it all at once.
const MIN_ABSENCE: Duration = Duration::from_secs(300);

/// The endpoints of one service.
///
/// All requests go to the current endpoint. Each client starts at a random endpoint, so that
/// clients spread over the endpoints. When an endpoint fails, the next one of the list becomes the
/// current one. After 5 to 10 minutes, the client returns to the endpoint that it started at,
/// so that an endpoint that was down gets its clients back.
#[derive(Debug)]
pub(crate) struct Endpoints {
    all: Vec<Arc<Endpoint>>,
    /// The index of the endpoint that the client started at.
    first: usize,
    position: Mutex<Position>,
}

#[derive(Debug)]
struct Position {
    current: usize,
    /// When the client returns to the first endpoint, if another one is current.
    return_at: Instant,
}

impl Endpoints {
    /// `bases` must not be empty.
    pub(crate) fn new(bases: Vec<Url>) -> Self {
        let first = fastrand::usize(..bases.len());
        let all = bases.into_iter().map(|base| Arc::new(Endpoint::new(base))).collect();
        Self { all, first, position: Mutex::new(Position { current: first, return_at: Instant::now() }) }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The index of the endpoint that the next request goes to.
    pub(crate) fn current(&self) -> usize {
        let mut position = self.position();
        if position.current != self.first && position.return_at <= Instant::now() {
            position.current = self.first;
        }
        position.current
    }

    pub(crate) fn get(&self, index: usize) -> &Arc<Endpoint> {
        &self.all[index]
    }

    /// Makes the endpoint after `failed` the current one, unless a concurrent request has already
    /// done so.
    pub(crate) fn leave(&self, failed: usize) {
        let mut position = self.position();
        if position.current == failed {
            if failed == self.first {
                position.return_at = Instant::now() + MIN_ABSENCE.mul_f64(1.0 + fastrand::f64());
            }
            position.current = (failed + 1) % self.all.len();
        }
    }

    fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn endpoints(count: usize) -> Endpoints {
        Endpoints::new(vec![Url::parse("http://127.0.0.1:1").unwrap(); count])
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_returns_to_its_first_endpoint_within_ten_minutes() {
        let endpoints = endpoints(3);
        let first = endpoints.current();
        endpoints.leave(first);
        let second = endpoints.current();
        assert_ne!(second, first);
        advance(MIN_ABSENCE - Duration::from_millis(1)).await;
        assert_eq!(endpoints.current(), second);
        endpoints.leave(second);
        let third = endpoints.current();
        assert!(third != first && third != second);
        advance(MIN_ABSENCE).await;
        assert_eq!(endpoints.current(), first, "a further move does not postpone the return");
    }

    #[tokio::test(start_paused = true)]
    async fn a_return_to_a_failing_endpoint_is_repeated_later() {
        let endpoints = endpoints(2);
        let first = endpoints.current();
        for _ in 0..3 {
            endpoints.leave(first);
            assert_ne!(endpoints.current(), first);
            advance(MIN_ABSENCE * 2).await;
            assert_eq!(endpoints.current(), first);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_is_left_once_by_concurrent_requests() {
        let endpoints = endpoints(3);
        let first = endpoints.current();
        endpoints.leave(first);
        endpoints.leave(first);
        assert_eq!(endpoints.current(), (first + 1) % 3);
    }
}
