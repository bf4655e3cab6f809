//! Limits for each handler: the number of concurrent requests, the time of each, and the effect of
//! a panic.
//!
//! One layer implements all three. The layers of tower and tower-http (load shedding, a concurrency
//! limit, catch-panic) each box their future and clone the services inside them for every request,
//! which doubled the processor time of a heartbeat (`docs/decisions/0014-one-http-service.md`). In
//! addition, tower-http's `TimeoutLayer` has one timeout for all requests, but a transport may have
//! less time left.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt as _;
use tokio::time::timeout;

use crate::error::Failure;
use crate::origin::Origin;
use crate::service::Service;

/// The layer around each handler. A request without a free permit is refused immediately, and a
/// request that exceeds its deadline gets 503. A request whose handler panics gets 500, because a
/// bug in one request must not end the process.
pub(crate) async fn limit(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let Ok(_permit) = service.permits.try_acquire() else {
        service.metrics.requests_shed.inc();
        return Err(Failure::unavailable("too many requests are in flight; try again"));
    };
    let _in_flight = service.metrics.request_in_flight();
    let longest = service.options.request_timeout;
    let left = Origin::of_request(&request).and_then(|origin| origin.time_left);
    let deadline = left.map_or(longest, |left| left.min(longest));
    match timeout(deadline, AssertUnwindSafe(next.run(request)).catch_unwind()).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let message =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(Failure::internal(format!("panicked: {message}")))
        }
        Err(_) => Err(Failure::unavailable("the answer took too long; try again")),
    }
}
