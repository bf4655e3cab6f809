//! The contract as one router, for whoever brings requests by other ways than this crate's server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aurora_registry::Registry;
use axum::Router;
use axum::body::Body;
use http::Request;
use http::request::Parts;

use crate::body::read_body;
use crate::clock::Clock;
use crate::contract::{Contract, ContractOptions};
use crate::inbox::Inbox;
use crate::options::{MAX_IN_FLIGHT, MAX_WATCHERS, REQUEST_TIMEOUT, WATCH_KEEP_ALIVE};
use crate::origin::Origin;
use crate::watch::WatchOptions;

/// What a router is made of.
#[derive(Clone)]
#[non_exhaustive]
pub struct RouterOptions {
    /// The registry that it answers from.
    pub registry: Arc<Registry>,
    /// Tells where a request came from, out of what its transport put beside it.
    pub origin: Arc<dyn Fn(&Parts) -> Origin + Send + Sync>,
    /// The time.
    pub clock: Clock,
    /// Whether browsers on other pages may read the answers.
    pub cors: bool,
    /// Most requests that are answered at once; others get 503.
    pub max_in_flight: usize,
    /// How long an answer may take before it becomes a 503.
    pub request_timeout: Duration,
    /// One in so many successes is logged, beside what fails; 0: none.
    pub log_one_in: u32,
}

impl RouterOptions {
    /// The defaults, for a registry and a transport.
    pub fn new(registry: Arc<Registry>, origin: impl Fn(&Parts) -> Origin + Send + Sync + 'static) -> Self {
        Self {
            registry,
            origin: Arc::new(origin),
            clock: Clock::default(),
            cors: true,
            max_in_flight: MAX_IN_FLIGHT,
            request_timeout: REQUEST_TIMEOUT,
            log_one_in: 0,
        }
    }
}

/// The contract as one router. It reads bodies without a deadline of its own: whoever knows the sockets bounds that.
pub fn router(options: RouterOptions) -> Router {
    let RouterOptions { registry, origin, clock, cors, max_in_flight, request_timeout, log_one_in } = options;
    let watch = WatchOptions { max_watchers: MAX_WATCHERS, keep_alive: WATCH_KEEP_ALIVE };
    let options = ContractOptions { clock, cors, max_in_flight, request_timeout, log_one_in, watch };
    let contract = Arc::new(Contract::new(registry, options, Arc::default()));
    let inbox = Arc::new(Inbox::default());
    Router::new().fallback_service(tower::service_fn(move |request: Request<Body>| {
        let (contract, inbox, origin) = (contract.clone(), inbox.clone(), origin.clone());
        async move {
            let (parts, body) = request.into_parts();
            let origin = origin(&parts);
            let body = read_body(body, &inbox).await;
            Ok::<_, Infallible>(contract.respond(Request::from_parts(parts, body), origin).await)
        }
    }))
}
