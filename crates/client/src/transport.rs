//! Requests over HTTP: chooses an endpoint, retries where that is useful, and reads responses up to
//! a maximum length.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::tls::TlsInfo;
use reqwest::{Method, Request, Response};
use tokio::time::{Instant, sleep};

use crate::addresses::Addresses;
use crate::connections::{Connections, Pool};
use crate::endpoint::Endpoint;
use crate::endpoints::Endpoints;
use crate::retry::Retry;
use crate::{ClientOptions, Error};

/// The maximum length of a response body, in bytes. A page of the API has at most 1 MiB of peers.
const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Sends requests to the endpoints of one service.
pub(crate) struct Transport {
    endpoints: Endpoints,
    connections: Connections,
    /// The caller's headers.
    headers: HeaderMap,
    timeout: Duration,
    retry: Retry,
}

/// A request, before an endpoint is chosen for it.
#[derive(Debug)]
pub(crate) struct OutgoingRequest<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) parameters: &'a [(&'a str, Cow<'a, str>)],
    /// Headers of this request, in addition to those in the client's options.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// How long the service may wait before it responds, in addition to the time limit.
    pub(crate) wait: Duration,
}

/// Where a request goes: an endpoint, and the connections over which it is sent.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) endpoint: Arc<Endpoint>,
    index: usize,
    pool: Pool,
}

/// A response with its complete body.
pub(crate) struct RawResponse {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The certificate of the server in DER format, over HTTPS.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl<'a> OutgoingRequest<'a> {
    /// A GET request for `path` with these parameters.
    pub(crate) fn get(path: &'a str, parameters: &'a [(&'a str, Cow<'a, str>)]) -> Self {
        let headers = HeaderMap::new();
        Self { method: Method::GET, path, parameters, headers, body: None, wait: Duration::ZERO }
    }

    /// A POST request with a JSON body for `path`.
    pub(crate) fn post(path: &'a str, body: Vec<u8>) -> Self {
        let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let headers = HeaderMap::from_iter([json]);
        Self { method: Method::POST, headers, body: Some(body), ..Self::get(path, &[]) }
    }
}

impl Transport {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, Error> {
        Self::with_addresses(options, Addresses::default())
    }

    /// Resolves the host names of the endpoints with `addresses`.
    pub(crate) fn with_addresses(options: &ClientOptions, addresses: Addresses) -> Result<Self, Error> {
        let bases = options.bases()?;
        let connections = Connections::new(options, &bases, addresses)?;
        Ok(Self {
            endpoints: Endpoints::new(bases),
            connections,
            headers: options.headers()?,
            timeout: options.timeout,
            retry: Retry::new(options),
        })
    }

    /// The endpoint that the next request goes to.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.endpoints.get(self.endpoints.current())
    }

    /// Handles the failure of a request at `route`. Returns whether another endpoint may do better.
    /// If so, the next endpoint becomes the current one, and if the host name of the failed
    /// endpoint has several addresses, new connections go to the next of them.
    pub(crate) fn failed(&self, route: &Route, error: &Error) -> bool {
        // A client that is over a rate limit (429) must wait. At another endpoint, it would only evade
        // the limit.
        let is_local = error.is_transient() && error.status() != Some(429);
        if is_local {
            self.endpoints.leave(route.index);
            self.connections.failed(&route.pool, route.endpoint.host(), error);
        }
        is_local
    }

    /// Sends a request until it succeeds, fails permanently, or uses up its retries or its time. A
    /// round has one attempt at each endpoint, without waits in between. The client waits, and
    /// counts a retry, only after a whole round has failed. An error that another endpoint would
    /// return as well ends the round early.
    pub(crate) async fn send(&self, request: &OutgoingRequest<'_>) -> Result<RawResponse, Error> {
        let started = Instant::now();
        let (mut rounds, mut failed) = (0, 0);
        loop {
            let route = self.route();
            let error = match self.attempt(&route, request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            failed += 1;
            let elapsed = started.elapsed();
            if self.failed(&route, &error) && failed < self.endpoints.len() && self.retry.has_time(elapsed) {
                tracing::debug!(%error, "a request failed and moves to the next endpoint");
                continue;
            }
            failed = 0;
            rounds += 1;
            let Some(wait) = self.retry.wait(rounds, elapsed, &error, fastrand::f64()) else {
                return Err(error);
            };
            tracing::debug!(%error, ?wait, rounds, "a request failed and will be retried");
            sleep(wait).await;
        }
    }

    /// Makes one attempt, without retries. A response with any status is a success. After a
    /// failure, the next request goes to another endpoint if that may do better.
    pub(crate) async fn exchange(
        &self,
        request: &OutgoingRequest<'_>,
    ) -> Result<(Route, RawResponse), Error> {
        let route = self.route();
        match self.exchange_by(&route, request).await {
            Ok(response) => Ok((route, response)),
            Err(error) => {
                self.failed(&route, &error);
                Err(error)
            }
        }
    }

    /// Opens a stream that has no end, without retries. The time limit applies until it begins.
    #[cfg(feature = "watch")]
    pub(crate) async fn open(&self, request: &OutgoingRequest<'_>) -> Result<(Route, Response), Error> {
        /// Ten years, which is effectively no limit. With `None`, the HTTP client would apply its
        /// default time limit, and an HTTP client that the caller has supplied may have one.
        const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
        let route = self.route();
        let mut request = self.request(&route.endpoint, request);
        *request.timeout_mut() = Some(NO_LIMIT);
        let opened = async {
            let response = self.execute(&route, request, self.timeout).await?;
            if response.status().is_success() {
                return Ok(response);
            }
            Err(route.endpoint.refusal(&read(&route.endpoint, response, self.timeout).await?))
        };
        let opened = tokio::time::timeout(self.timeout, opened).await;
        let opened = opened.unwrap_or_else(|_| Err(route.endpoint.timed_out(self.timeout)));
        match opened {
            Ok(response) => Ok((route, response)),
            Err(error) => {
                self.failed(&route, &error);
                Err(error)
            }
        }
    }

    fn route(&self) -> Route {
        let index = self.endpoints.current();
        Route { endpoint: Arc::clone(self.endpoints.get(index)), index, pool: self.connections.pool() }
    }

    /// Makes one attempt. A response with an error status is an error.
    async fn attempt(&self, route: &Route, request: &OutgoingRequest<'_>) -> Result<RawResponse, Error> {
        let response = self.exchange_by(route, request).await?;
        let is_success = (200..300).contains(&response.status);
        if is_success { Ok(response) } else { Err(route.endpoint.refusal(&response)) }
    }

    async fn exchange_by(&self, route: &Route, request: &OutgoingRequest<'_>) -> Result<RawResponse, Error> {
        let limit = self.timeout + request.wait;
        let response = self.execute(route, self.request(&route.endpoint, request), limit).await?;
        read(&route.endpoint, response, limit).await
    }

    fn request(&self, endpoint: &Endpoint, outgoing: &OutgoingRequest<'_>) -> Request {
        let mut request =
            Request::new(outgoing.method.clone(), endpoint.url(outgoing.path, outgoing.parameters));
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().extend(outgoing.headers.clone());
        *request.timeout_mut() = Some(self.timeout + outgoing.wait);
        *request.body_mut() = outgoing.body.clone().map(Into::into);
        request
    }

    async fn execute(&self, route: &Route, request: Request, limit: Duration) -> Result<Response, Error> {
        let response = route.pool.http.execute(request).await;
        response.map_err(|error| route.endpoint.failure(&error, limit))
    }
}

/// Reads a response to its end. `limit` is the time limit of the request.
async fn read(
    endpoint: &Arc<Endpoint>,
    mut response: Response,
    limit: Duration,
) -> Result<RawResponse, Error> {
    let status = response.status().as_u16();
    let headers = std::mem::take(response.headers_mut());
    let tls = response.extensions_mut().remove::<TlsInfo>();
    let certificate = tls.and_then(|tls| tls.peer_certificate().map(<[u8]>::to_vec));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| endpoint.failure(&error, limit))? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(endpoint.protocol(status, "more than 8 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(RawResponse { endpoint: Arc::clone(endpoint), status, headers, body, certificate })
}

impl fmt::Debug for Transport {
    /// Leaves out headers and the proxy, which may contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("endpoints", &self.endpoints)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}
