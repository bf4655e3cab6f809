//! Requests over HTTP: sends them, retries them where that is useful, and reads their responses up
//! to a maximum length.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use aurora_discovery_protocol::ErrorBody;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::tls::TlsInfo;
use reqwest::{Method, Request, Response, Url};
use tokio::time::{Instant, sleep};

use crate::certificate::rejection;
use crate::retry::Retry;
use crate::{ClientOptions, Error, tls};

/// The maximum length of a response body, in bytes. A page of the contract has at most 1 MiB of
/// peers.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Sends requests to one endpoint.
pub(crate) struct Transport {
    http: reqwest::Client,
    base: Url,
    /// The caller's headers.
    headers: HeaderMap,
    timeout: Duration,
    retry: Retry,
}

/// A response with its complete body.
pub(crate) struct RawResponse {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The certificate of the server in DER format, over HTTPS.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        let base = options.base()?;
        Ok(Self {
            http: tls::http_client(options, &base)?,
            base,
            headers: options.headers()?,
            timeout: options.timeout,
            retry: Retry::new(options),
        })
    }

    /// The URL of the service, as text for a person.
    pub(crate) fn endpoint(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// The host and the port of the endpoint.
    pub(crate) fn authority(&self) -> (String, u16) {
        // Brackets around an IPv6 address are part of the URL, not of the address.
        let host = self.base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        (host, self.base.port_or_known_default().unwrap_or_default())
    }

    /// A GET request for `path` with these parameters.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, Cow<'_, str>)]) -> Request {
        let mut url = self.url(path);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        self.request(Method::GET, url)
    }

    /// A POST request with a JSON body for `path`.
    pub(crate) fn post(&self, path: &str, body: Vec<u8>) -> Request {
        let mut request = self.request(Method::POST, self.url(path));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        request
    }

    fn request(&self, method: Method, url: Url) -> Request {
        let mut request = Request::new(method, url);
        *request.headers_mut() = self.headers.clone();
        *request.timeout_mut() = Some(self.timeout);
        request
    }

    /// Sends a request until it succeeds, fails permanently, or uses up its retries or its time.
    pub(crate) async fn send(&self, request: Request) -> Result<RawResponse, Error> {
        let started = Instant::now();
        let mut failed = 0;
        loop {
            let error = match self.attempt(&request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            failed += 1;
            let Some(wait) = self.retry.wait(failed, started.elapsed(), &error, fastrand::f64()) else {
                return Err(error);
            };
            tracing::debug!(%error, ?wait, failed, "a request failed and will be retried");
            sleep(wait).await;
        }
    }

    /// Makes one attempt. A response with an error status is an error.
    async fn attempt(&self, request: &Request) -> Result<RawResponse, Error> {
        let response = self.exchange(request).await?;
        if (200..300).contains(&response.status) { Ok(response) } else { Err(self.refusal(&response)) }
    }

    /// Makes one attempt. A response with any status is a success.
    pub(crate) async fn exchange(&self, request: &Request) -> Result<RawResponse, Error> {
        let request =
            request.try_clone().ok_or_else(|| self.protocol(0, "a body that cannot be sent again"))?;
        let response = self.http.execute(request).await.map_err(|error| self.failure(&error))?;
        self.read(response).await
    }

    /// Opens a stream that has no end. The time limit applies until it begins.
    #[cfg(feature = "watch")]
    pub(crate) async fn open(&self, mut request: Request) -> Result<Response, Error> {
        /// Longer than any process runs: `None` would mean the default of the HTTP client.
        const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
        *request.timeout_mut() = Some(NO_LIMIT);
        let opened = async {
            let response = self.http.execute(request).await.map_err(|error| self.failure(&error))?;
            if response.status().is_success() {
                return Ok(response);
            }
            Err(self.refusal(&self.read(response).await?))
        };
        match tokio::time::timeout(self.timeout, opened).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(self.timeout)),
        }
    }

    async fn read(&self, mut response: Response) -> Result<RawResponse, Error> {
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let tls = response.extensions_mut().remove::<TlsInfo>();
        let certificate = tls.and_then(|tls| tls.peer_certificate().map(<[u8]>::to_vec));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(&error))? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(self.protocol(status, "more than 8 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(RawResponse { status, headers, body, certificate })
    }

    /// The error for a response with an error status.
    fn refusal(&self, response: &RawResponse) -> Error {
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
                Error::Protocol { endpoint: self.endpoint(), status, cause, retry_after }
            }
        }
    }

    /// The error for a response that does not conform to the contract.
    pub(crate) fn protocol(&self, status: u16, cause: impl Into<String>) -> Error {
        Error::Protocol { endpoint: self.endpoint(), status, cause: cause.into(), retry_after: None }
    }

    /// The error for a response that was not complete after `timeout`.
    pub(crate) fn timed_out(&self, timeout: Duration) -> Error {
        Error::TimedOut { endpoint: self.endpoint(), timeout }
    }

    /// The error for a connection that could not be established, or that broke.
    pub(crate) fn unreachable(&self, cause: impl Into<String>) -> Error {
        Error::Unreachable { endpoint: self.endpoint(), cause: cause.into() }
    }

    fn failure(&self, error: &reqwest::Error) -> Error {
        if error.is_timeout() {
            return self.timed_out(self.timeout);
        }
        let cause = root_cause(error);
        match rejection(&cause, &self.authority().0) {
            Some((cause, remedy)) => Error::Certificate { endpoint: self.endpoint(), cause, remedy },
            None => self.unreachable(cause),
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        // An HTTP URL always has path segments. Without them, the request would go to the base URL
        // and get 404.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }
}

impl fmt::Debug for Transport {
    /// Leaves out headers and the proxy, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("base", &self.base.as_str())
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
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

/// The value of `Retry-After` in whole seconds. The contract never sends a date, so a date is
/// ignored.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
