//! Answers as gateways take them.

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::event::PayloadFormat;

/// What Lambda hands back.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// The answer to a request.
    Answer(Answer),
    /// Nothing, to whoever asked for nothing.
    Nothing(()),
}

/// An answer to a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    status_code: u16,
    #[serde(serialize_with = "headers")]
    headers: HeaderMap,
    body: String,
    is_base64_encoded: bool,
    /// Payload format 2.0 has them. AWS does without, but `cargo lambda` refuses an answer that leaves them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<[&'static str; 0]>,
}

impl Answer {
    /// The answer that a response is, to an event of `format`.
    pub(crate) async fn of(response: Response<Body>, format: PayloadFormat) -> Result<Self, axum::Error> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut headers = parts.headers;
        // The gateway knows how much it sends.
        headers.remove(CONTENT_LENGTH);
        let (body, is_base64_encoded) = match String::from_utf8(body.into()) {
            Ok(text) => (text, false),
            Err(bytes) => (BASE64_STANDARD.encode(bytes.as_bytes()), true),
        };
        let cookies = (format == PayloadFormat::Two).then_some([]);
        Ok(Self { status_code: parts.status.as_u16(), headers, body, is_base64_encoded, cookies })
    }
}

/// Headers as one object; the contract's answers have none twice, and all of ASCII.
fn headers<S: Serializer>(headers: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(headers.len()))?;
    for (name, value) in headers {
        map.serialize_entry(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    map.end()
}
