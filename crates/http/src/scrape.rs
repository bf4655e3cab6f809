//! The listener for metrics, separate from the listener for peers.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aurora_discovery_protocol::NetworkResponse;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::exposition::{Figures, exposition};
use crate::network;
use crate::process::ProcessFigures;
use crate::service::Service;
use crate::text_format::TextFormat;
use crate::tls::Tls;

/// How long the listener waits after it has failed to accept a connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The maximum number of connections at once. There are few scrapers, and further connections wait
/// until one ends.
const MAX_CONNECTIONS: usize = 16;
/// The time limit for one scrape, so that a client can't hold a connection without sending or
/// reading.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `GET /metrics`, one scrape per connection, until the future is dropped.
pub(crate) async fn serve_metrics(listener: TcpListener, service: Arc<Service>, tls: Option<Arc<Tls>>) {
    let source = Source { service, tls, started: SystemTime::now() };
    let router = Router::new().route("/metrics", get(scrape)).with_state(source);
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

async fn scrape(State(source): State<Source>, headers: HeaderMap) -> Response {
    let format = TextFormat::accepted(&headers);
    match exposition(source.figures().await, source.process().await) {
        Ok(text) => ([(CONTENT_TYPE, format.content_type())], format.convert(text)).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What a scrape reads.
#[derive(Clone)]
struct Source {
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    started: SystemTime,
}

impl Source {
    async fn figures(&self) -> Figures {
        let service = &self.service;
        let (store, now) = (service.registry.store(), service.options.clock.now());
        let census = store.census(NetworkResponse::MAX_ARCHETYPES, now).await;
        if let Err(error) = &census {
            tracing::warn!(cause = %error, "the census of the peers failed");
        }
        // Without a census, the exposition contains all figures but those of the peers.
        let mut census = census.ok();
        let network = census.clone().map(|census| network::figures(service, census, now));
        if let Some(census) = &mut census {
            census.by_archetype = service.established.counts(store, census, now);
        }
        Figures {
            metrics: service.metrics.clone(),
            network,
            census,
            store: store.metrics(),
            is_healthy: store.health().await.is_ok(),
            blocks: service.registry.known_blocks(now),
            certificate_expires_at: self.tls.as_ref().and_then(|tls| tls.expires_at()),
        }
    }

    async fn process(&self) -> Option<ProcessFigures> {
        let started = self.started;
        // Counting thousands of open files takes milliseconds.
        spawn_blocking(move || ProcessFigures::read(started)).await.ok()
    }
}
