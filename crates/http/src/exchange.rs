//! The outermost layer. It sees each request with its whole body and each response, so it counts,
//! logs and completes all responses in one place.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use crate::body::{ReceivedBody, receive};
use crate::compress::pack;
use crate::error::Failure;
use crate::gzip::accepts_gzip;
use crate::log::Exchange;
use crate::origin::Origin;
use crate::route::Route;
use crate::service::Service;

/// Reads the body and passes the request on. Then compresses, counts and logs the response, and
/// adds the common headers.
pub(crate) async fn exchange(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let origin = Origin::of_request(&request).cloned().unwrap_or_default();
    let (mut parts, body) = request.into_parts();
    let body = receive(body, service.unfinished_bodies.share(origin.address)).await;
    let started = Instant::now();
    let (method, route) = (parts.method.clone(), Route::of(parts.uri.path()));
    let accepts_gzip = accepts_gzip(&parts.headers);
    parts.extensions.insert(ReceivedBody(body.clone()));
    let mut response = next.run(Request::from_parts(parts, Body::empty())).await;
    if method != Method::HEAD {
        response = pack(response, accepts_gzip, origin.address, &service).await;
    }

    let (latency, status) = (started.elapsed(), response.status());
    let failure = response.extensions().get::<Failure>();
    service.metrics.responded(route, status, failure.map(|failure| failure.refusal.code), latency);
    if service.log.wants(status) {
        let body = body.as_deref().unwrap_or_default();
        Exchange { route, method: &method, body, origin: &origin, status, failure, latency }.log();
    }
    service.headers.complete(&mut response, &origin.request_id);
    response
}
