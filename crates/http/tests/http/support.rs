//! A running service, and a client that checks every response against the OpenAPI document.

pub(crate) mod addressed_client;
pub(crate) mod faulty;
pub(crate) mod openapi;
pub(crate) mod raw;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{Clock, ServeError, Server, ServerOptions};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, Registry, Store};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The timeout for events that should happen immediately. It is long, because the machine may pause.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);
/// The start time of the tests' clocks: 2025-10-02T12:00:00.
const NOON: u64 = 1_759_406_400;

/// A clock that a test advances.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Relaxed);
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_secs(NOON + self.0.load(Relaxed))
    }

    fn clock(&self) -> Clock {
        let clock = Self(self.0.clone());
        Clock::new(move || clock.now())
    }
}

/// A service on its own port, stopped when it is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) clock: TestClock,
    pub(crate) registry: Arc<Registry>,
    pub(crate) client: reqwest::Client,
    /// Whether requests are sent as if they came through a proxy.
    is_proxied: bool,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
}

/// What a test can change in its service before the service starts.
pub(crate) struct TestOptions {
    pub(crate) server: ServerOptions,
    pub(crate) limits: Limits,
    pub(crate) store: fn(Arc<EmbeddedStore>) -> Arc<dyn Store>,
    /// The registry's source of random numbers: returns a number below its argument. By default it
    /// always returns the largest such number.
    pub(crate) draw: fn(u32) -> u32,
}

impl Service {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut TestOptions)) -> Self {
        let clock = TestClock::default();
        let mut server = ServerOptions::default();
        server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        server.metrics_listen = Some(server.listen);
        server.service.clock = clock.clock();
        // Only tests of the drain wait for it.
        server.shutdown_drain = Duration::ZERO;
        let mut options =
            TestOptions { server, limits: Limits::default(), store: |store| store, draw: |below| below - 1 };
        set(&mut options);
        let store = (options.store)(EmbeddedStore::in_memory(options.limits.clone()));
        let registry = Arc::new(Registry::new(store, options.limits).unwrap().with_random(options.draw));
        let is_proxied = options.server.trusted_hops > 0;
        let server = Server::bind(options.server, registry.clone()).await.unwrap();
        let (address, metrics) = (server.local_addr(), server.metrics_addr().unwrap());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        let client = client(|builder| builder);
        let (stop, serving) = (Some(stop), Some(serving));
        Self { address, metrics, clock, registry, client, is_proxied, stop, serving }
    }

    /// A service behind one proxy, so that a test can send requests from any address.
    pub(crate) async fn behind_a_proxy() -> Self {
        Self::with(|options| options.server.trusted_hops = 1).await
    }

    /// Asks the service to stop, without waiting for it.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// Waits for a service that was asked to stop.
    pub(crate) async fn stopped(&mut self) -> Result<(), ServeError> {
        tokio::time::timeout(TIMEOUT, self.serving.take().unwrap()).await.unwrap().unwrap()
    }

    /// Lets the background tasks of the service run for a second of tokio's clock, without a real
    /// wait: a paused clock advances as soon as all tasks are idle. No request may be in progress.
    pub(crate) async fn run_background_tasks(&self) {
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::time::resume();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Response {
        self.request(Method::POST, path, &[], body).await
    }

    /// Sends a request. Behind a proxy, it comes from this machine unless the headers name another
    /// client.
    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        let mut request = self.client.request(method.clone(), self.url(path)).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if self.is_proxied && !headers.iter().any(|(name, _)| *name == "x-forwarded-for") {
            request = request.header("x-forwarded-for", "127.0.0.1");
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let response = Response { status, headers, body: response.bytes().await.unwrap() };
        openapi::check(&method, path, &response);
        response
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// A client for tests.
pub(crate) fn client(set: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> reqwest::Client {
    // Fails if another test in this process has installed the provider already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    set(reqwest::Client::builder().no_proxy().timeout(TIMEOUT)).build().unwrap()
}

/// One response of each kind. [`Service::request`] has checked each against the OpenAPI document.
pub(crate) async fn one_response_of_each_kind(service: &Service) -> Vec<Response> {
    service.post("/register", r#"{"peer_id":"p"}"#).await.ok();
    let responses = vec![
        service.get("/discover").await,
        service.get("/openapi.json").await,
        service.post("/heartbeat", r#"{"peer_id":"p"}"#).await,
        service.request(Method::HEAD, "/health", &[], "").await,
        service.request(Method::OPTIONS, "/register", &[], "").await,
        service.request(Method::OPTIONS, "/nowhere", &[], "").await,
        service.post("/heartbeat", "{").await,
        service.post("/heartbeat", r#"{"peer_id":"x"}"#).await,
        service.post("/heartbeat", &"x".repeat(20_000)).await,
        service.get("/nowhere").await,
        service.get("/register").await,
        service.post("/register", r#"{"peer_id":"newcomer"}"#).await,
    ];
    let statuses: Vec<_> = responses.iter().map(|response| response.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 204, 204, 400, 404, 413, 404, 405, 503]);
    responses
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Response {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The JSON of a successful response.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    /// Asserts that the response is a refusal in the form that the API defines.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, field: Option<&str>) {
        let body = self.json();
        let given = (self.status.as_u16(), body["code"].as_str().unwrap(), body["field"].as_str());
        assert_eq!(given, (status, code, field), "{self:?}");
    }
}
