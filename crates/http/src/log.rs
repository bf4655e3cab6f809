//! The log of requests: at most a line per request, and a bounded number of lines for refusals.
//!
//! tower-http's `TraceLayer` is not suitable: it opens a span for each request before it is known
//! whether the request is logged at all. A span takes more processor time than handling a
//! heartbeat.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aurora_discovery_protocol::{Code, DeregisterRequest};
use http::{Method, StatusCode};

use crate::error::Failure;
use crate::origin::Origin;
use crate::route::Route;

/// The maximum number of lines a second about requests that the service refused because of its own
/// state. An overloaded or full service refuses thousands a second, and must not spend its time on
/// logging them.
const MAX_REFUSALS_PER_SECOND: u64 = 10;
/// The same for requests that were refused because of what the client sent. Any client can send
/// them, and these lines must not crowd out the others.
const MAX_CLIENT_ERRORS_PER_SECOND: u64 = 5;
/// The maximum number of characters of a path in the log.
const MAX_PATH_CHARS: usize = 64;

/// One request and its result.
pub(crate) struct Exchange<'a> {
    pub(crate) route: Option<Route>,
    /// The path that the client sent.
    pub(crate) path: &'a str,
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
    refusals: LineLimit,
    client_errors: LineLimit,
}

impl RequestLog {
    /// Logs failed requests, except those beyond the limits per second, and one in `one_in` of the
    /// others. With 0, none of the others is logged.
    pub(crate) fn new(one_in: u32) -> Self {
        let [refusals, client_errors] =
            [MAX_REFUSALS_PER_SECOND, MAX_CLIENT_ERRORS_PER_SECOND].map(LineLimit::new);
        Self { one_in, refusals, client_errors }
    }

    /// Whether a request with this status is logged.
    pub(crate) fn wants(&self, status: StatusCode) -> bool {
        // Internal errors come from bugs or damaged data. All of them are logged, however many
        // there are.
        status == StatusCode::INTERNAL_SERVER_ERROR
            || self.is_sampled()
            || (status.is_server_error() && self.refusals.allows_line())
            || (status.is_client_error() && self.client_errors.allows_line())
    }

    fn is_sampled(&self) -> bool {
        self.one_in > 0 && fastrand::u32(..self.one_in) == 0
    }
}

/// Limits lines per second.
#[derive(Debug)]
struct LineLimit {
    per_second: u64,
    started: Instant,
    /// The second in which `refusals` are counted, as a number of seconds since `started`.
    second: AtomicU64,
    /// The number of refusals in that second.
    refusals: AtomicU64,
}

impl LineLimit {
    fn new(per_second: u64) -> Self {
        let (second, refusals) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { per_second, started: Instant::now(), second, refusals }
    }

    /// Whether one more line may be written in this second. Counts the refusal.
    fn allows_line(&self) -> bool {
        // The first refusal of a new second resets the count and reports what was omitted.
        let now = self.started.elapsed().as_secs();
        if self.second.swap(now, Relaxed) != now {
            let omitted = self.refusals.swap(0, Relaxed).saturating_sub(self.per_second);
            if omitted > 0 {
                tracing::warn!(
                    requests = omitted,
                    "refused requests were not logged because the limit of lines per second was reached"
                );
            }
        }
        self.refusals.fetch_add(1, Relaxed) < self.per_second
    }
}

/// The path that a client sent, shortened and escaped, because a client can put anything there.
fn shown(path: &str) -> String {
    path.chars().take(MAX_PATH_CHARS).flat_map(char::escape_default).collect()
}

impl Exchange<'_> {
    /// Writes the line.
    pub(crate) fn log(&self) {
        let request_id = self.origin.request_id.as_str();
        let method = self.method.as_str();
        let client = self.origin.address;
        let route = self.route.map_or("other", Route::path);
        let path = shown(self.path);
        let status = self.status.as_u16();
        let code = self.failure.map(|failure| failure.refusal.code);
        let cause = self.failure.and_then(|failure| failure.cause.as_deref());
        let duration_ms = self.latency.as_secs_f64() * 1e3;
        // The body is parsed again for the peer's id, but only for requests that are logged. An id
        // is visible ASCII, so it contains no control characters that a terminal would interpret.
        let peer_id = DeregisterRequest::from_body(self.body).ok().map(|request| request.peer_id);
        let peer_id = peer_id.as_ref().map(|peer_id| peer_id.as_str());
        let code_name = code.map(Code::as_str);
        match code {
            Some(Code::Internal) => {
                tracing::error!(
                    request_id,
                    %client,
                    method,
                    route,
                    path,
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
                    %client,
                    method,
                    route,
                    path,
                    status,
                    code = code_name,
                    duration_ms,
                    peer_id,
                    cause,
                    "request refused"
                );
            }
            Some(_) => tracing::info!(
                request_id,
                %client,
                method,
                route,
                path,
                status,
                code = code_name,
                duration_ms,
                peer_id,
                reason = self.failure.map(|failure| failure.refusal.message.as_ref()),
                "request refused"
            ),
            None => tracing::info!(
                request_id,
                %client,
                method,
                route,
                path,
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
        assert!(!log.wants(StatusCode::OK));
        // Client errors and other refusals have separate limits per second. The upper bounds here
        // are twice the limits, because a new second may begin during the loop.
        let written = |status| (0..1_000).filter(|_| log.wants(status)).count();
        assert!((5..=10).contains(&written(StatusCode::NOT_FOUND)));
        assert!((10..=20).contains(&written(StatusCode::SERVICE_UNAVAILABLE)));
        assert!((0..100).all(|_| log.wants(StatusCode::INTERNAL_SERVER_ERROR)));
        assert!(RequestLog::new(1).wants(StatusCode::OK));
    }

    #[test]
    fn a_path_in_the_log_is_bounded_and_has_no_control_characters() {
        assert_eq!(shown("/discover"), "/discover");
        assert_eq!(shown("/\u{1b}[31m\n\u{202e}é"), r"/\u{1b}[31m\n\u{202e}\u{e9}");
        assert_eq!(shown(&"x".repeat(9_000)).len(), 64);
    }

    #[test]
    fn a_random_sample_of_successful_requests_is_logged() {
        let log = RequestLog::new(10);
        let drawn = (0..10_000).filter(|_| log.wants(StatusCode::OK)).count();
        // The bounds are six and a half standard deviations (30 each) from the mean. A correct
        // implementation exceeds them once in ten billion runs.
        assert!((800..1_200).contains(&drawn), "{drawn}");
    }
}
