//! The headers of every answer.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::answer::Coding;
use crate::origin::{RequestId, X_REQUEST_ID};

/// The contract's CORS headers.
pub(crate) const CORS: [(HeaderName, &str); 5] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_METHODS, "GET,POST,OPTIONS"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type,X-Amz-Date,Authorization,X-Api-Key"),
    (ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After,x-request-id"),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// The headers that every answer has, ready to be copied.
#[derive(Clone, Debug)]
pub(crate) struct CommonHeaders {
    plain: HeaderMap,
    /// Those of an answer that could be coded otherwise: put into a copy, one more would make it grow.
    varying: HeaderMap,
}

impl CommonHeaders {
    pub(crate) fn new(cors: bool) -> Self {
        let mut plain = HeaderMap::with_capacity(8);
        plain.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        plain.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Held open for each request's own, which then finds its place without growing the map.
        plain.insert(X_REQUEST_ID, HeaderValue::from_static(""));
        for (name, value) in CORS.into_iter().filter(|_| cors) {
            plain.insert(name, HeaderValue::from_static(value));
        }
        let mut varying = plain.clone();
        varying.insert(VARY, HeaderValue::from_static("accept-encoding"));
        Self { plain, varying }
    }

    /// The headers of the answer to one request.
    pub(crate) fn of(&self, request_id: &RequestId, coding: Option<Coding>) -> HeaderMap {
        let mut headers = if coding.is_some() { self.varying.clone() } else { self.plain.clone() };
        headers.insert(X_REQUEST_ID, request_id.to_header());
        if coding == Some(Coding::Gzip) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers
    }
}
