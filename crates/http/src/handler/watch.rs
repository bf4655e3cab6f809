//! `GET /watch`: changes as server-sent events.

use aurora_discovery_protocol::{ChangesRequest, View};
use aurora_discovery_registry::Registry;
use axum::Extension;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, Uri};

use super::context::Context;
use crate::connection::state::StreamGuard;
use crate::error::Failure;
use crate::query::parameters;
use crate::request_context::RequestContext;

/// The header in which a client that lost its stream sends the last id it received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Prevents nginx from buffering events.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(crate) async fn watch(
    context: Context,
    uri: Uri,
    headers: HeaderMap,
    Extension(request_context): Extension<RequestContext>,
) -> Result<Response, Failure> {
    let request = request(&context, &uri, &headers)?;
    let watchers = &context.service.watchers;
    let is_observer = request.view == View::Observer;
    let permit = watchers.permit(context.caller.address);
    let watching = Registry::watch(&context.service.registry, request, context.now)?;
    // A missing permit is reported only now, after the request was checked, so that an invalid
    // request gets a 400 even if the limit of watchers is reached.
    let permit = permit.ok_or_else(|| {
        Failure::unavailable(
            "the limit of watchers is reached, in total or for your address; try again later, or poll /discover with since",
        )
    })?;
    let stream = request_context.connection.map(StreamGuard::new);
    let mut events = watchers.stream(watching, permit, stream);
    if is_observer {
        events = events.for_observer();
    }
    Ok(([(CONTENT_TYPE, "text/event-stream"), (X_ACCEL_BUFFERING, "no")], Body::new(events)).into_response())
}

fn request(context: &Context, uri: &Uri, headers: &HeaderMap) -> Result<ChangesRequest, Failure> {
    // A stream has no end, so a limit has no meaning for it.
    let parameters =
        parameters(uri.query().unwrap_or_default())?.into_iter().filter(|(name, _)| name != "limit");
    let mut request = ChangesRequest::from_parameters(parameters, context.registry().limits().discover)?;
    // A browser that reconnects repeats the original query and sends its last position in
    // `Last-Event-ID`. The header therefore takes precedence over `since`.
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        let last = String::from_utf8_lossy(last.as_bytes()).into_owned();
        request.since = Some(last).filter(|last| ChangesRequest::is_cursor(last));
    }
    Ok(request)
}
