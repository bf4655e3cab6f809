//! The listener for metrics, separate from the listener for peers.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::NetworkResponse;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::exposition::{self, exposition};
use crate::network;
use crate::service::Service;

/// How long to wait after a failure to accept.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The maximum number of connections at once. There are few scrapers, and any more wait to be
/// accepted.
const MAX_CONNECTIONS: usize = 16;
/// The time limit for one scrape, so that a client can't hold a connection without sending or
/// reading.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `GET /metrics`, one scrape per connection, until the future is dropped.
pub(crate) async fn serve_metrics(listener: TcpListener, service: Arc<Service>) {
    let router = Router::new().route("/metrics", get(scrape)).with_state(service);
    let router = TowerToHyperService::new(router);
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut scrapes = JoinSet::new();
    loop {
        while scrapes.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_RETRY).await;
            continue;
        };
        let connection =
            http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), router.clone());
        scrapes.spawn(async move {
            // A scraper that disconnects or takes too long will try again at its next interval.
            let _ = timeout(SCRAPE_TIMEOUT, connection).await;
            drop(permit);
        });
    }
}

async fn scrape(State(service): State<Arc<Service>>) -> Response {
    let now = service.options.clock.now();
    let census = service.registry.store().census(NetworkResponse::MAX_ARCHETYPES, now).await;
    if let Err(error) = &census {
        tracing::warn!(cause = %error, "the census of the peers failed");
    }
    // Without a census, the exposition contains all figures but those of the peers.
    let mut census = census.ok();
    let network = census.clone().map(|census| network::figures(&service, census, now));
    if let Some(census) = &mut census {
        census.by_archetype = service.established.counts(service.registry.store(), census, now);
    }
    let figures = service.registry.store().metrics();
    match exposition(service.metrics.clone(), census, network.as_ref(), figures) {
        Ok(text) => ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
