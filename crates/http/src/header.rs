//! The headers of every response.
//!
//! tower-http's CORS and request-id layers are not suitable. The API sends
//! `Access-Control-Allow-Origin` with every response, also to requests without `Origin`, and
//! responds to preflights with 204. It accepts a request id only from a trusted proxy, which only
//! the transport can recognise.

use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::origin::{RequestId, X_REQUEST_ID};

/// The CORS header of every response.
const CORS: [(HeaderName, &str); 1] = [(ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
/// The CORS headers of preflights alone. Browsers read them nowhere else, and they would double the
/// headers of a heartbeat's response.
const CORS_PREFLIGHT: [(HeaderName, &str); 3] = [
    (ACCESS_CONTROL_ALLOW_METHODS, "GET,POST,OPTIONS"),
    (
        ACCESS_CONTROL_ALLOW_HEADERS,
        "Content-Type,X-Amz-Date,Authorization,X-Api-Key,Last-Event-ID,Cache-Control,traceparent,\
         tracestate,baggage",
    ),
    (ACCESS_CONTROL_MAX_AGE, "86400"),
];
/// The CORS header of failures alone. A page needs `Retry-After` and the request id only after a
/// failure.
const CORS_FAILURE: [(HeaderName, &str); 1] = [(ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After,x-request-id")];

/// The headers of every response, ready to be copied.
#[derive(Clone, Debug)]
pub(crate) struct CommonHeaders {
    success: HeaderMap,
    preflight: HeaderMap,
    failure: HeaderMap,
}

impl CommonHeaders {
    pub(crate) fn new(cors: bool) -> Self {
        let with = |cors_headers: &[(HeaderName, &'static str)]| {
            // The capacity includes the headers that are added to each copy, so that adding them
            // does not rebuild the map's index.
            let mut headers = HeaderMap::with_capacity(10);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            for (name, value) in CORS.iter().chain(cors_headers).filter(|_| cors) {
                headers.insert(name, HeaderValue::from_static(value));
            }
            headers
        };
        Self { success: with(&[]), preflight: with(&CORS_PREFLIGHT), failure: with(&CORS_FAILURE) }
    }

    /// The headers of the response with `status` to a request with `method`.
    pub(crate) fn of(&self, method: &Method, status: StatusCode, request_id: RequestId) -> HeaderMap {
        let mut headers = if !status.is_success() {
            self.failure.clone()
        } else if method == Method::OPTIONS {
            self.preflight.clone()
        } else {
            self.success.clone()
        };
        headers.insert(X_REQUEST_ID, request_id.into_header());
        headers
    }

    /// Adds the headers to the response to a request with `method`, unless it already has them.
    pub(crate) fn complete(&self, response: &mut Response, method: &Method, request_id: RequestId) {
        // Headers that the handler has set, such as the content type, replace the common ones.
        let common = self.of(method, response.status(), request_id);
        let own = std::mem::replace(response.headers_mut(), common);
        response.headers_mut().extend(own);
    }
}
