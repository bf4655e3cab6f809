//! Compresses large responses for clients that accept it, and counts them against a budget until
//! the clients have read them.
//!
//! tower-http's `CompressionLayer` is not suitable: it compresses on the threads that serve other
//! requests, does not limit how many pages are compressed at once, and sends responses without
//! `Content-Length`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::budget::Share;
use crate::connection::state::ConnectionState;
use crate::connection::unread::UnreadGuard;
use crate::error::Failure;
use crate::rate::Charge;
use crate::service::Service;

/// Smaller bodies are not compressed: they fit into a few packets either way.
const MIN_BYTES: u64 = 4 * 1024;
/// Smaller bodies are not counted against the budget on HTTP/1: each connection holds at most one,
/// and they are small compared with the connection itself.
const COUNTED_FROM_BYTES: u64 = 16 * 1024;
/// The same for HTTP/2. The value is lower, because a connection can hold one body for each of its
/// streams.
const COUNTED_FROM_BYTES_MULTIPLEXED: u64 = 1024;
/// The value of `Vary` for responses whose encoding depends on the client.
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// Compresses a large body if the client accepts gzip, and counts it against the budget of
/// `address` until the client has read it. On a `multiplexed` connection, the body also counts as
/// unread until it is sent.
///
/// If the budget has no room for the body, the response becomes a 503, but only if the request
/// `is_safe`, that is, changes nothing. Otherwise the body is sent nevertheless, because the client
/// has to learn what its request changed.
pub(crate) async fn compress_and_budget(
    mut response: Response,
    accepts_gzip: bool,
    address: IpAddr,
    service: &Service,
    multiplexed: Option<Arc<ConnectionState>>,
    is_safe: bool,
) -> Response {
    let counted_from =
        if multiplexed.is_some() { COUNTED_FROM_BYTES_MULTIPLEXED } else { COUNTED_FROM_BYTES };
    // A stream of events has no known length and is passed on unchanged.
    let Some(length) = response.body().size_hint().exact() else { return response };
    // The rate limit of pages counts the kilobytes of all responses, before compression.
    service.rates.charge(Charge::Pages, address, usize::try_from(length / 1024).unwrap_or(usize::MAX));
    // The files of the web page at `/` are compressed already.
    let may_compress = length >= MIN_BYTES && !response.headers().contains_key(CONTENT_ENCODING);
    if may_compress {
        response.headers_mut().entry(VARY).or_insert(ACCEPT_ENCODING);
    }
    if length < counted_from && !(may_compress && accepts_gzip) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // The body is already in memory, so this does not wait.
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Failure::internal("a body in memory could not be read").into_response();
    };
    let compressed =
        if may_compress && accepts_gzip { service.compressor.compress(&body).await } else { None };
    if compressed.is_some() {
        // axum's router has set the length of the body before compression.
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let body = compressed.unwrap_or(body);
    if (body.len() as u64) < counted_from {
        return Response::from_parts(parts, Body::from(body));
    }
    match service.pending_responses.take(address, body.len()) {
        Some(share) => Response::from_parts(parts, budgeted(body, share, multiplexed)),
        None if is_safe => too_many_unread().into_response(),
        None => Response::from_parts(parts, Body::from(body)),
    }
}

/// The refusal of a request because too many responses, in total or of its source, are unread.
pub(crate) fn too_many_unread() -> Failure {
    Failure::unavailable("too many responses are waiting for clients to read them; try again")
}

/// A body that holds its share of the budget until it is sent. On a multiplexed connection, it also
/// counts as unread until then.
fn budgeted(body: Bytes, share: Share, multiplexed: Option<Arc<ConnectionState>>) -> Body {
    let unread = multiplexed.map(UnreadGuard::new);
    let reported = unread.as_ref().map(UnreadGuard::body);
    let bytes = Bytes::from_owner(BudgetedBody { body, _share: share, _unread: unread });
    match reported {
        Some(body) => Body::new(body.with(bytes)),
        None => Body::from(bytes),
    }
}

/// A body that counts against the budget for as long as anything refers to its bytes.
struct BudgetedBody {
    body: Bytes,
    _share: Share,
    _unread: Option<UnreadGuard>,
}

impl AsRef<[u8]> for BudgetedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}
