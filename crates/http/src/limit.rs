//! Limits how many handlers run at once and for how long. A panic of a handler ends only its own
//! request.
//!
//! tower and tower-http have layers for this: load shedding, a concurrency limit, a timeout and
//! catch-panic. Each boxes a future and clones the services inside of it for every request.
//! Together they cost a tenth of a heartbeat's processor time; see
//! `docs/decisions/0014-one-http-service.md`. tower-http's `TimeoutLayer` also has one time limit
//! for all requests, while here the transport may have less time left for a single request.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::error::Failure;
use crate::service::Service;

/// Runs a handler. The response is a 503 if no permit is left or if the handler exceeds its
/// deadline. It is a 500 if the handler panics, because a bug in the handling of one request must
/// not end the process.
///
/// `time_left` is how long the transport will still wait for the response, if that is known.
pub(crate) async fn limited(
    service: &Service,
    time_left: Option<Duration>,
    handler: impl Future<Output = Response>,
) -> Response {
    let Ok(_permit) = service.permits.try_acquire() else {
        service.metrics.requests_shed.inc();
        return Failure::unavailable("too many requests are in flight; try again").into_response();
    };
    let _in_flight = service.metrics.request_in_flight();
    let longest = service.options.request_timeout;
    let deadline = time_left.map_or(longest, |left| left.min(longest));
    match timeout(deadline, AssertUnwindSafe(handler).catch_unwind()).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let message = text.unwrap_or("without a message");
            Failure::internal(format!("panicked: {message}")).into_response()
        }
        Err(_) => Failure::unavailable("handling the request took too long; try again").into_response(),
    }
}
