//! Limits around each handler: how many run at once, for how long, and what a panic costs.
//!
//! One layer holds the three. As layers of tower and tower-http (load shedding, a concurrency limit,
//! catch-panic), each boxes its future and clones the services inside of it for every request: a
//! heartbeat cost twice the processor time (`docs/decisions/0014-one-http-service.md`). And
//! tower-http's `TimeoutLayer` has one time for all requests; a transport may have less left.

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

/// The layer around each handler. A request that finds no permit is refused at once, one that
/// outlasts its deadline gets 503, and one whose handler panics gets 500: a bug that one request
/// meets must not end the process.
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
