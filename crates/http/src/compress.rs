//! Large responses are compressed for clients that accept it, and counted until their clients have
//! read them.
//!
//! tower-http's `CompressionLayer` doesn't do: it compresses on the thread that serves other
//! requests, however many pages are compressed at once, and its responses have no `Content-Length`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, VARY};
use http::{HeaderValue, Method};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::budget::Share;
use crate::error::Failure;
use crate::gzip::accepts_gzip;
use crate::origin::{NO_ADDRESS, Origin};
use crate::service::Service;

/// Bodies below this are sent as they are: they fit a few packets either way.
const MIN_BYTES: u64 = 4 * 1024;
/// Bodies below this are not counted: each connection may hold one, and they are small beside the
/// connection itself.
const COUNTED_FROM_BYTES: usize = 16 * 1024;

/// The layer that compresses large bodies and counts them against their source's budget.
pub(crate) async fn compress(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let has_body = request.method() != Method::HEAD;
    let accepts_gzip = accepts_gzip(request.headers());
    let address = Origin::of_request(&request).map_or(NO_ADDRESS, |origin| origin.address);
    let response = next.run(request).await;
    // What a stream of events will send is not known.
    if !has_body || response.body().size_hint().exact().is_none_or(|bytes| bytes < MIN_BYTES) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // It is in memory already.
    let Ok(body) = body.collect().await.map(|body| body.to_bytes()) else {
        return Failure::internal("a body in memory could not be read").into_response();
    };
    let compressed = if accepts_gzip { service.compressor.compress(&body).await } else { None };
    if compressed.is_some() {
        parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    parts.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    let mut body = compressed.unwrap_or(body);
    if body.len() >= COUNTED_FROM_BYTES {
        let Some(share) = service.pending_responses.take(address, body.len()) else {
            let message = "too many answers wait for clients to read them; try again";
            return Failure::unavailable(message).into_response();
        };
        body = Bytes::from_owner(Counted { body, _share: share });
    }
    Response::from_parts(parts, Body::from(body))
}

/// A body that counts for as long as anything refers to its bytes.
struct Counted {
    body: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}
