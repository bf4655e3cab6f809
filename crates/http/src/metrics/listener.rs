//! The listener that tells metrics, apart from the one that serves peers.

use std::sync::Arc;

use aurora_registry::Registry;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::{MAX_ARCHETYPES, Metrics, text, write_metrics};
use crate::clock::Clock;

/// Answers `GET /metrics` until it is dropped.
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
    let router = Router::new().route("/metrics", get(tell));
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(cause = %error, "metrics are told no more");
    }
}

async fn tell(registry: &Registry, clock: &Clock, metrics: Arc<Metrics>) -> Response {
    let census = registry.census(MAX_ARCHETYPES, clock.now()).await;
    if let Err(error) = &census {
        tracing::warn!(cause = %error, "the peers could not be counted");
    }
    match write_metrics(metrics, census.ok(), registry.figures()) {
        Ok(text) => ([(CONTENT_TYPE, text::CONTENT_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
