//! One of the URLs of a service, and the errors that name it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aurora_discovery_protocol::ErrorBody;
use reqwest::Url;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::Error;
use crate::certificate::rejection;
use crate::transport::RawResponse;

/// One of the URLs of a service.
pub(crate) struct Endpoint {
    base: Url,
}

impl Endpoint {
    pub(crate) fn new(base: Url) -> Self {
        Self { base }
    }

    /// The URL as errors show it: without a slash at its end.
    pub(crate) fn text(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// The host and the port.
    pub(crate) fn authority(&self) -> (String, u16) {
        // Brackets around an IPv6 address are part of the URL, not of the address.
        let host = self.host().trim_matches(['[', ']']).to_owned();
        (host, self.base.port_or_known_default().unwrap_or_default())
    }

    /// The host as it is in the URL, with brackets around an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// The URL of `path`, with these parameters.
    pub(crate) fn url(&self, path: &str, parameters: &[(&str, Cow<'_, str>)]) -> Url {
        let mut url = self.base.clone();
        // An HTTP URL always has path segments. Without them, the request would go to the base URL
        // and get 404.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        url
    }

    /// The error for a response whose status is not a success.
    pub(crate) fn refusal(&self, response: &RawResponse) -> Error {
        let (status, retry_after) = (response.status, retry_after(&response.headers));
        match serde_json::from_slice::<ErrorBody>(&response.body) {
            Ok(body) => Error::Refused { status, body: Box::new(body), retry_after },
            Err(_) => {
                let text = String::from_utf8_lossy(&response.body);
                let cause = if text.contains("serves HTTPS") {
                    "a message that the port serves HTTPS: begin the URL with https://".to_owned()
                } else {
                    "a body that is not an error of the API".to_owned()
                };
                Error::Protocol { endpoint: self.text(), status, cause, retry_after }
            }
        }
    }

    /// The error for a response that does not conform to the API.
    pub(crate) fn protocol(&self, status: u16, cause: impl Into<String>) -> Error {
        Error::Protocol { endpoint: self.text(), status, cause: cause.into(), retry_after: None }
    }

    /// The error for a response whose body cannot be parsed.
    pub(crate) fn malformed(&self, status: u16, cause: &dyn fmt::Display) -> Error {
        self.protocol(status, format!("a malformed body ({cause})"))
    }

    /// The error for a response that was not complete after `timeout`.
    pub(crate) fn timed_out(&self, timeout: Duration) -> Error {
        Error::TimedOut { endpoint: self.text(), timeout }
    }

    /// The error for a connection that could not be established, or that broke.
    pub(crate) fn unreachable(&self, cause: impl Into<String>) -> Error {
        Error::Unreachable { endpoint: self.text(), cause: cause.into() }
    }

    /// The error for an exchange with this time limit that failed.
    pub(crate) fn failure(&self, error: &reqwest::Error, timeout: Duration) -> Error {
        if error.is_timeout() {
            return self.timed_out(timeout);
        }
        let cause = root_cause(error);
        match rejection(&cause, &self.authority().0) {
            Some((cause, remedy)) => Error::Certificate { endpoint: self.text(), cause, remedy },
            None => self.unreachable(cause),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.base.as_str()).finish()
    }
}

/// The innermost error, which has the reason. The outer ones only say that a request failed.
pub(crate) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The value of `Retry-After` in whole seconds. The API never sends a date, so a date is ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
