//! Requests over HTTP: sends them, retries them where that is useful, and reads their responses up
//! to a maximum length.

use std::borrow::Cow;
use std::time::Duration;

use aurora_discovery_protocol::ErrorBody;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Method, Request, Response, Url, redirect};
use rustls::crypto::{CryptoProvider, ring};
use tokio::time::{Instant, sleep};

use crate::retry::Retry;
use crate::{ClientOptions, Error};

/// The maximum length of a response body, in bytes. A page of the contract has at most 1 MiB of
/// peers.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The time limit for connecting. The time limit of the attempt applies as well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends requests to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
    retry: Retry,
}

/// A response: its status, its headers and its complete body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        let base = options.base()?;
        let http = http_client(options, &base)?;
        Ok(Self { http, base, timeout: options.timeout, retry: Retry::new(options) })
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
        Request::new(Method::GET, url)
    }

    /// A POST request with a JSON body for `path`.
    pub(crate) fn post(&self, path: &str, body: Vec<u8>) -> Request {
        let mut request = Request::new(Method::POST, self.url(path));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        request
    }

    /// Sends a request until it succeeds, fails permanently, or uses up its retries or its time.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, Error> {
        let started = Instant::now();
        let mut failed = 0;
        loop {
            let error = match self.once(&request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failed += 1;
            let Some(wait) = self.retry.wait(failed, started.elapsed(), &error, fastrand::f64()) else {
                return Err(error);
            };
            tracing::debug!(%error, ?wait, failed, "a call failed and is tried again");
            sleep(wait).await;
        }
    }

    /// Makes one attempt. A response with an error status is an error.
    async fn once(&self, request: &Request) -> Result<Answer, Error> {
        let (answer, retry_after) = self.exchange(request).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(match serde_json::from_slice::<ErrorBody>(&answer.body) {
            Ok(body) => Error::Refused { status: answer.status, body, retry_after },
            Err(_) => Error::Protocol {
                endpoint: self.endpoint(),
                status: answer.status,
                cause: "no reason that the contract knows".to_owned(),
                retry_after,
            },
        })
    }

    /// Makes one attempt. A response with any status is a success. Also returns its `Retry-After`.
    pub(crate) async fn exchange(&self, request: &Request) -> Result<(Answer, Option<Duration>), Error> {
        let request =
            request.try_clone().ok_or_else(|| self.protocol(0, "a body that can't be sent again"))?;
        let mut response = self.http.execute(request).await.map_err(|error| self.failure(&error))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.protocol(status, "more than 8 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((Answer { status, headers, body }, retry_after))
    }

    /// The error for a response that does not conform to the contract.
    pub(crate) fn protocol(&self, status: u16, cause: impl Into<String>) -> Error {
        Error::Protocol { endpoint: self.endpoint(), status, cause: cause.into(), retry_after: None }
    }

    fn failure(&self, error: &reqwest::Error) -> Error {
        let endpoint = self.endpoint();
        if error.is_timeout() {
            return Error::TimedOut { endpoint, timeout: self.timeout };
        }
        Error::Unreachable { endpoint, cause: deepest(error) }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        // An HTTP URL always has path segments. Without them, the request would go to the base URL
        // and get 404.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(path);
        }
        url
    }
}

fn http_client(options: &ClientOptions, base: &Url) -> Result<reqwest::Client, Error> {
    if CryptoProvider::get_default().is_none() {
        // If another thread has installed a provider first, that one is used.
        let _ = ring::default_provider().install_default();
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .timeout(options.timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        // Following a redirect would turn a POST into a GET.
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true);
    if base.scheme() == "http" {
        // Loading the system's certificates takes milliseconds, and they may be missing. An `http`
        // endpoint does not need them.
        builder = builder.tls_certs_only([]);
    } else if let Some(pem) = &options.ca_certificates {
        builder = builder.tls_certs_only(certificates(pem)?);
    }
    builder.build().map_err(|error| Error::Options(format!("the client can't be made: {}", deepest(&error))))
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, Error> {
    let rule =
        "the file of CA certificates must hold at least one certificate in PEM (-----BEGIN CERTIFICATE-----)";
    match Certificate::from_pem_bundle(pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Options(rule.to_owned())),
    }
}

fn deepest(error: &reqwest::Error) -> String {
    // The outer errors only say that a request failed. The innermost one has the reason.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The value of `Retry-After` in whole seconds. The contract never sends a date, so a date is
/// ignored.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
