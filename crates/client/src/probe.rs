//! Single requests with their raw responses, for tools that examine a service. A response with any
//! status is a success, and nothing is retried.

use std::borrow::Cow;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::transport::{OutgoingRequest, RawResponse};
use crate::{Client, Error};

/// A request that examines a service.
#[derive(Clone, Debug)]
pub struct Probe {
    method: Method,
    path: String,
    parameters: Vec<(String, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Vec<u8>>,
}

impl Probe {
    /// A GET request for `path`, which is appended to the path of the endpoint.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path, None)
    }

    /// A POST request with a JSON body for `path`.
    pub fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let probe = Self::new(Method::POST, path, Some(body.into()));
        probe.header("content-type", "application/json")
    }

    /// An OPTIONS request for `path`, such as the preflight of a browser. The headers of a
    /// preflight have to be added with [`Probe::header`].
    pub fn options(path: &str) -> Self {
        Self::new(Method::OPTIONS, path, None)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header. It is left out if its name or its value is not valid in HTTP.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            self.headers.push((name, value));
        }
        self
    }

    fn new(method: Method, path: &str, body: Option<Vec<u8>>) -> Self {
        Self { method, path: path.to_owned(), parameters: Vec::new(), headers: Vec::new(), body }
    }
}

/// The response to a probe.
#[derive(Clone, Debug)]
pub struct ProbeResponse {
    /// The status.
    pub status: u16,
    headers: HeaderMap,
    /// The complete body.
    pub body: Vec<u8>,
    /// The server's certificate in DER format, if the request used HTTPS.
    pub certificate: Option<Vec<u8>>,
    /// The time from the start of the request to the last byte of the response.
    pub elapsed: Duration,
}

impl ProbeResponse {
    /// The values of a header, which may appear several times.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

impl Client {
    /// Sends a probe once.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Certificate`], [`Error::TimedOut`], or [`Error::Protocol`]
    /// if the response is too long.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request.
    pub async fn probe(&self, probe: Probe) -> Result<ProbeResponse, Error> {
        let Probe { method, path, parameters, headers, body } = probe;
        let parameters: Vec<(&str, Cow<'_, str>)> =
            parameters.iter().map(|(name, value)| (name.as_str(), Cow::from(value.as_str()))).collect();
        let request = OutgoingRequest {
            method,
            headers: headers.into_iter().collect(),
            body,
            ..OutgoingRequest::get(&path, &parameters)
        };
        let started = Instant::now();
        let (_, RawResponse { status, headers, body, certificate, .. }) =
            self.transport().exchange(&request).await?;
        Ok(ProbeResponse { status, headers, body, certificate, elapsed: started.elapsed() })
    }

    /// The host and the port of the endpoint that the next request goes to.
    pub fn authority(&self) -> (String, u16) {
        self.transport().endpoint().authority()
    }
}
