//! Reads a request's body as a whole, up to a limit.
//!
//! axum's `DefaultBodyLimit` and tower-http's `RequestBodyLimit` respond as soon as a body is too
//! long. A client that is still sending would then see its connection reset instead of the 413.
//! Both also limit only each single body, not the total size of all unfinished bodies.

use std::pin::pin;

use aurora_discovery_protocol::{Code, MAX_BODY_BYTES};
use axum::BoxError;
use axum::body::HttpBody;
use bytes::Bytes;
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

/// Reads a body of at most [`MAX_BODY_BYTES`], with or without an announced length. The failure is
/// a 413 for a longer body, a 400 for a body that does not arrive completely or in time, and a 503
/// if the budget has no room.
///
/// Only a body that arrives in several pieces counts against the budget of `share`. The body of a
/// heartbeat usually arrives in one piece. Heartbeats are therefore accepted even if clients that
/// send slowly have used up the budget.
pub(crate) async fn receive<B>(body: B, mut share: Share) -> Result<Bytes, Failure>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    // A body whose announced length exceeds even `MAX_DISCARDED_BYTES` is rejected without reading
    // it, because discarding it would take too long.
    if body.size_hint().lower() > MAX_DISCARDED_BYTES as u64 {
        return Err(too_large());
    }
    let (mut received, mut length) = (Vec::new(), 0);
    // A body of more than `MAX_BODY_BYTES` is still read, up to `MAX_DISCARDED_BYTES`, but not
    // stored.
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(|error| interrupted(error.into()))?.into_data() else { continue };
        if length == 0 && data.len() <= MAX_BODY_BYTES && body.is_end_stream() {
            return Ok(data);
        }
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            received.extend_from_slice(&data);
            // Only a body that is still incomplete counts against the budget.
            if !body.is_end_stream() && !share.grow(data.len()) {
                return Err(Failure::unavailable(
                    "too many request bodies are still being received; try again",
                ));
            }
        }
    }
    if length > MAX_BODY_BYTES { Err(too_large()) } else { Ok(received.into()) }
}

fn interrupted(error: BoxError) -> Failure {
    match error.downcast::<BodyTimeout>() {
        Ok(timeout) => Failure::new(Code::InvalidBody, timeout.to_string()),
        Err(_) => Failure::new(Code::InvalidBody, "the body ended before its announced length"),
    }
}

fn too_large() -> Failure {
    Failure::new(Code::BodyTooLarge, format!("the body must be at most {MAX_BODY_BYTES} bytes"))
}
