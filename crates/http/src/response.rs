//! Helpers with which handlers write their responses.

use aurora_discovery_protocol::{PeerList, page_body};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use crate::error::Failure;

/// A successful response with `value` as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<Response, Failure> {
    // Most responses fit into this capacity. Allocating it at once takes less time than growing the
    // buffer.
    let mut body = Vec::with_capacity(512);
    serde_json::to_writer(&mut body, value)?;
    Ok(Response::new(Body::from(body)))
}

/// A successful response with `value` as JSON, preceded by a list of peers if there is one.
pub(crate) fn json_with_peers(peers: Option<PeerList>, value: &impl Serialize) -> Result<Response, Failure> {
    match peers {
        Some(peers) => Ok(Response::new(Body::from(Bytes::from_owner(page_body(peers, value)?)))),
        None => json(value),
    }
}
