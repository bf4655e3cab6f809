//! The listener that tells metrics, apart from the one that serves peers.

use std::sync::Arc;
use std::time::Duration;

use aurora_protocol::NetworkResponse;
use aurora_registry::Registry;
use axum::Router;
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

use super::{Metrics, text, write_metrics};
use crate::clock::Clock;
use crate::network;
use crate::server::ACCEPT_REST;

/// Most connections at once: scrapers are few, and more of them wait to be accepted.
const MAX_CONNECTIONS: usize = 16;
/// How long one scrape may take, so that nobody holds a connection without asking or reading.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers `GET /metrics`, one scrape for each connection, until it is dropped.
pub(crate) async fn serve_metrics(
    listener: TcpListener,
    registry: Arc<Registry>,
    clock: Clock,
    metrics: Arc<Metrics>,
) {
    let tell = move || {
        let (registry, clock, metrics) = (registry.clone(), clock.clone(), metrics.clone());
        async move { tell(&registry, &clock, metrics).await }
    };
    let service = TowerToHyperService::new(Router::new().route("/metrics", get(tell)));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut scrapes = JoinSet::new();
    loop {
        while scrapes.try_join_next().is_some() {}
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_REST).await;
            continue;
        };
        let connection =
            http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service.clone());
        scrapes.spawn(async move {
            // Who leaves before it is told, or takes too long, comes again at its next scrape.
            let _ = timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

async fn tell(registry: &Registry, clock: &Clock, metrics: Arc<Metrics>) -> Response {
    let now = clock.now();
    let census = registry.census(NetworkResponse::MAX_ARCHETYPES, now).await;
    if let Err(error) = &census {
        tracing::warn!(cause = %error, "the peers could not be counted");
    }
    let census = census.ok();
    let network = census.clone().map(|census| network::figures(registry, &metrics, census, now));
    match write_metrics(metrics, census, network.as_ref(), registry.figures()) {
        Ok(text) => ([(CONTENT_TYPE, text::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
