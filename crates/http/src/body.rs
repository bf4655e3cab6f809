//! Reading a request's body, whole and bounded.
//!
//! axum's `DefaultBodyLimit` and tower-http's `RequestBodyLimit` answer as soon as a body is too
//! long. The client, still sending, would see its connection reset instead of the 413. They also
//! bound each body alone, not what all clients together send and don't finish.

use aurora_protocol::{Code, MAX_BODY_BYTES};
use axum::body::{Body, HttpBody as _};
use axum::extract::FromRequestParts;
use bytes::Bytes;
use http::request::Parts;
use http_body_util::BodyExt as _;

use crate::budget::Share;
use crate::error::Failure;

/// Most bytes of a refused body that are read and dropped, so that its sender, still writing, gets
/// to see the response.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// The error of a body whose transport has waited long enough for it.
#[derive(Debug, thiserror::Error)]
#[error("the body took too long to arrive")]
pub(crate) struct BodyTimeout;

/// The body of a request once it is read, in the request's extensions. Only a handler that needs it
/// finds out that it could not be read.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedBody(pub(crate) Result<Bytes, Failure>);

/// The body that a handler is given.
pub(crate) struct RequestBody(pub(crate) Bytes);

impl<S: Sync> FromRequestParts<S> for RequestBody {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let received = parts.extensions.remove::<ReceivedBody>();
        received.map_or_else(|| Err(Failure::internal("no layer has read the body")), |body| body.0.map(Self))
    }
}

/// Reads a body of at most [`MAX_BODY_BYTES`], however its length is announced. A body that comes
/// in one piece never counts towards the budget of `share`, so slow senders can't keep heartbeats
/// out.
pub(crate) async fn receive(mut body: Body, mut share: Share) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > MAX_DISCARDED_BYTES as u64 {
        return Err(too_large());
    }
    let (mut received, mut length) = (Vec::new(), 0);
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(interrupted)?.into_data() else { continue };
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            received.extend_from_slice(&data);
            if !body.is_end_stream() && !share.grow(data.len()) {
                return Err(Failure::unavailable(
                    "too many request bodies are still on their way; try again",
                ));
            }
        }
    }
    if length > MAX_BODY_BYTES { Err(too_large()) } else { Ok(received.into()) }
}

fn interrupted(error: axum::Error) -> Failure {
    match error.into_inner().downcast::<BodyTimeout>() {
        Ok(timeout) => Failure::new(Code::InvalidBody, timeout.to_string()),
        Err(_) => Failure::new(Code::InvalidBody, "the body ended before its length"),
    }
}

fn too_large() -> Failure {
    Failure::new(Code::BodyTooLarge, format!("the body must be at most {MAX_BODY_BYTES} bytes"))
}
