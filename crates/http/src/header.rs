//! The headers of every response.
//!
//! tower-http's CORS and request-id layers are not suitable. The API sends all CORS headers with
//! every response, not only with preflights, and responds to preflights with 204. It accepts a
//! request id only from a trusted proxy, which only the transport can recognise.

use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::origin::{RequestId, X_REQUEST_ID};

/// The API's CORS headers.
const CORS: [(HeaderName, &str); 5] = [
    (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (ACCESS_CONTROL_ALLOW_METHODS, "GET,POST,OPTIONS"),
    (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type,X-Amz-Date,Authorization,X-Api-Key"),
    (ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After,x-request-id"),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// The headers of every response, ready to be copied.
#[derive(Clone, Debug)]
pub(crate) struct CommonHeaders(HeaderMap);

impl CommonHeaders {
    pub(crate) fn new(cors: bool) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in CORS.into_iter().filter(|_| cors) {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Self(headers)
    }

    /// The headers of the response to one request.
    pub(crate) fn of(&self, request_id: &RequestId) -> HeaderMap {
        let mut headers = self.0.clone();
        headers.insert(X_REQUEST_ID, request_id.to_header());
        headers
    }

    /// Adds the headers to a response, unless it already has them.
    pub(crate) fn complete(&self, response: &mut Response, request_id: &RequestId) {
        // The headers of the response replace the common ones, for example its content type.
        let own = std::mem::replace(response.headers_mut(), self.of(request_id));
        response.headers_mut().extend(own);
    }
}
