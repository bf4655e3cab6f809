//! Large responses are compressed for clients that accept it, and counted until their clients have read them.
//!
//! tower-http's `CompressionLayer` doesn't do: it compresses on the thread that serves other requests, however many pages are compressed
//! at once, and its responses have no `Content-Length`.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::Semaphore;

use crate::budget::Share;
use crate::error::Failure;
use crate::origin::Origin;
use crate::service::Service;

/// Bodies below this are sent as they are: they fit a few packets either way.
const MIN_BYTES: u64 = 4 * 1024;
/// Bodies below this are not counted: each connection may hold one, and they are small beside the connection itself.
const COUNTED_FROM_BYTES: usize = 16 * 1024;

/// The layer that compresses large bodies and counts them against their source's budget.
pub(crate) async fn compress(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let has_body = request.method() != Method::HEAD;
    let accepts_gzip = accepts_gzip(request.headers());
    let address = Origin::of_request(&request).address;
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

/// Compresses a few bodies at a time. When all permits are taken, a response goes out as it is, so that compressing never
/// takes the processor from handling requests.
#[derive(Debug)]
pub(crate) struct Compressor(Semaphore);

impl Compressor {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self(Semaphore::new((cores / 2).max(1)))
    }

    /// The body compressed, or `None` where it goes out as it is.
    pub(crate) async fn compress(&self, body: &Bytes) -> Option<Bytes> {
        let _permit = self.0.try_acquire().ok()?;
        let body = body.clone();
        // A page of a megabyte takes ten milliseconds, too long for a thread that serves other requests.
        tokio::task::spawn_blocking(move || gzip(&body)).await.ok()?.ok()
    }
}

fn gzip(body: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body)?;
    encoder.finish().map(Bytes::from)
}

/// Whether a client accepts gzip (RFC 9110, section 12.5.3).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for entry in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| HeaderValue::to_str(line).ok()) {
        for coding in entry.split(',') {
            let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
            match name.trim() {
                "*" => any = wanted(parameters),
                gzip if gzip.eq_ignore_ascii_case("gzip") => return wanted(parameters),
                _ => {}
            }
        }
    }
    any
}

/// Whether the weight among a coding's parameters is above zero; none is one.
fn wanted(parameters: &str) -> bool {
    let weight = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().unwrap_or(0.0))
    });
    weight.is_none_or(|weight| weight > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_only_to_those_who_accept_it() {
        let accepts = |value: &'static str| {
            accepts_gzip(&[(ACCEPT_ENCODING, HeaderValue::from_static(value))].into_iter().collect())
        };
        for yes in
            ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.5", "*", "deflate, *;q=0.1", "gzip ; q = 0.2"]
        {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "xgzip"] {
            assert!(!accepts(no), "{no}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
