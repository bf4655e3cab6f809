//! The log of requests: at most a line per request, and a bounded number of lines for refusals.
//!
//! tower-http's `TraceLayer` is not suitable: it opens a span for each request, which costs more
//! than a heartbeat, before it is known whether the request is logged at all.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aurora_discovery_protocol::{Code, DeregisterRequest};
use http::{Method, StatusCode};

use crate::error::Failure;
use crate::origin::Origin;
use crate::route::Route;

/// The maximum number of lines a second about requests that the service itself refused. An
/// overloaded or full service refuses thousands a second, and must not spend its time on logging
/// them.
const MAX_REFUSALS_PER_SECOND: u64 = 10;

/// One request and its result.
pub(crate) struct Exchange<'a> {
    pub(crate) route: Option<Route>,
    pub(crate) method: &'a Method,
    /// The body that the client sent.
    pub(crate) body: &'a [u8],
    pub(crate) origin: &'a Origin,
    pub(crate) status: StatusCode,
    pub(crate) failure: Option<&'a Failure>,
    pub(crate) latency: Duration,
}

/// Decides which requests are logged.
#[derive(Debug)]
pub(crate) struct RequestLog {
    one_in: u32,
    started: Instant,
    /// The second in which refusals are counted, since `started`.
    second: AtomicU64,
    /// The number of refusals in that second.
    refusals: AtomicU64,
}

impl RequestLog {
    /// Logs failed requests, and one in `one_in` of the others; with 0, none of the others.
    pub(crate) fn new(one_in: u32) -> Self {
        Self { one_in, started: Instant::now(), second: AtomicU64::new(0), refusals: AtomicU64::new(0) }
    }

    /// Whether a request with this status is logged.
    pub(crate) fn wants(&self, status: StatusCode) -> bool {
        // Internal errors are bugs or damage: each is logged, whatever the rate.
        status == StatusCode::INTERNAL_SERVER_ERROR
            || self.is_sampled()
            || (status.is_server_error() && self.may_log_refusal())
    }

    fn is_sampled(&self) -> bool {
        self.one_in > 0 && fastrand::u32(..self.one_in) == 0
    }

    fn may_log_refusal(&self) -> bool {
        // The first refusal of a new second resets the count and reports what was omitted.
        let now = self.started.elapsed().as_secs();
        if self.second.swap(now, Relaxed) != now {
            let omitted = self.refusals.swap(0, Relaxed).saturating_sub(MAX_REFUSALS_PER_SECOND);
            if omitted > 0 {
                tracing::warn!(
                    requests = omitted,
                    "refused requests were not logged because the limit of lines per second was reached"
                );
            }
        }
        self.refusals.fetch_add(1, Relaxed) < MAX_REFUSALS_PER_SECOND
    }
}

impl Exchange<'_> {
    /// Writes the line.
    pub(crate) fn log(&self) {
        let request_id = self.origin.request_id.as_str();
        let method = self.method.as_str();
        let route = self.route.map_or("other", Route::path);
        let status = self.status.as_u16();
        let code = self.failure.map(|failure| failure.refusal.code);
        let cause = self.failure.and_then(|failure| failure.cause.as_deref());
        let duration_ms = self.latency.as_secs_f64() * 1e3;
        // The body is parsed again for the peer's id, but only for requests that are logged. An id
        // is visible ASCII and contains no control characters for a terminal.
        let peer_id = DeregisterRequest::from_body(self.body).ok().map(|request| request.peer_id);
        let peer_id = peer_id.as_ref().map(|peer_id| peer_id.as_str());
        let code_name = code.map(Code::as_str);
        match code {
            Some(Code::Internal) => {
                tracing::error!(
                    request_id,
                    method,
                    route,
                    status,
                    code = code_name,
                    duration_ms,
                    peer_id,
                    cause,
                    "request failed"
                );
            }
            Some(_) if self.status.is_server_error() => {
                tracing::warn!(
                    request_id,
                    method,
                    route,
                    status,
                    code = code_name,
                    duration_ms,
                    peer_id,
                    cause,
                    "request refused"
                );
            }
            _ => tracing::info!(
                request_id,
                method,
                route,
                status,
                code = code_name,
                duration_ms,
                peer_id,
                "request completed"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_errors_are_always_logged_and_refusals_up_to_a_limit_per_second() {
        let log = RequestLog::new(0);
        assert!(!log.wants(StatusCode::OK) && !log.wants(StatusCode::NOT_FOUND));
        // At most two seconds pass here.
        let written = (0..1_000).filter(|_| log.wants(StatusCode::SERVICE_UNAVAILABLE)).count();
        assert!((10..=20).contains(&written), "{written}");
        assert!((0..100).all(|_| log.wants(StatusCode::INTERNAL_SERVER_ERROR)));
        assert!(RequestLog::new(1).wants(StatusCode::OK));
    }

    #[test]
    fn a_random_sample_of_successful_requests_is_logged() {
        let log = RequestLog::new(10);
        let drawn = (0..10_000).filter(|_| log.wants(StatusCode::OK)).count();
        // Six and a half standard deviations of 30: a fair draw lies outside once in ten billion
        // runs.
        assert!((800..1_200).contains(&drawn), "{drawn}");
    }
}
