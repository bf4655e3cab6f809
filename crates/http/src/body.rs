//! Reads a request's body as a whole, up to a limit.
//!
//! axum's `DefaultBodyLimit` and tower-http's `RequestBodyLimit` respond as soon as a body is too
//! long. The client, which is still sending, would see its connection reset instead of the 413.
//! They also limit each body separately, not the total of the bodies that all clients have begun
//! and not finished.

use aurora_discovery_protocol::{Code, MAX_BODY_BYTES};
use axum::body::{Body, HttpBody as _};
use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::request::Parts;
use http_body_util::BodyExt as _;

use crate::budget::Share;
use crate::error::Failure;

/// The maximum number of bytes of a rejected body that are read and discarded, so that a client
/// that is still sending gets to see the response.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// The transport's timeout for the body has passed.
#[derive(Debug, thiserror::Error)]
#[error("the body took too long to arrive")]
pub(crate) struct BodyTimeout;

/// The result of reading a request's body, in the request's extensions. The handler gets a read
/// error only if it needs the body.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedBody(pub(crate) Result<Bytes, Failure>);

/// The body for a handler that needs it.
pub(crate) struct RequestBody(pub(crate) Bytes);

impl<S: Sync> FromRequestParts<S> for RequestBody {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let received = parts.extensions.remove::<ReceivedBody>();
        received.map_or_else(
            || Err(Failure::internal("the body was not read before the handler ran")),
            |body| body.0.map(Self),
        )
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`], with or without an announced length. A body that
/// arrives in one piece never counts towards the budget of `share`, so slow senders can't block
/// heartbeats.
pub(crate) async fn receive(mut body: Body, mut share: Share) -> Result<Bytes, Failure> {
    // An announced length beyond this is rejected without reading: discarding it would take too
    // long.
    if body.size_hint().lower() > MAX_DISCARDED_BYTES as u64 {
        return Err(too_large());
    }
    let (mut received, mut length) = (Vec::new(), 0);
    // A body that is too long is read on, up to the larger limit, but no longer stored.
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(interrupted)?.into_data() else { continue };
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            received.extend_from_slice(&data);
            // Only a body that is still incomplete counts towards the budget.
            if !body.is_end_stream() && !share.grow(data.len()) {
                return Err(Failure::unavailable(
                    "too many request bodies are still being received; try again",
                ));
            }
        }
    }
    if length > MAX_BODY_BYTES { Err(too_large()) } else { Ok(received.into()) }
}

fn interrupted(error: axum::Error) -> Failure {
    match error.into_inner().downcast::<BodyTimeout>() {
        Ok(timeout) => Failure::new(Code::InvalidBody, timeout.to_string()),
        Err(_) => Failure::new(Code::InvalidBody, "the body ended before its announced length"),
    }
}

fn too_large() -> Failure {
    Failure::new(Code::BodyTooLarge, format!("the body must be at most {MAX_BODY_BYTES} bytes"))
}
