//! The information about a request that every handler needs.

use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::Registry;
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::error::Failure;
use crate::metrics::Metrics;
use crate::received::Received;
use crate::service::Service;

/// The service, and the time and the source of the request.
pub(crate) struct Context {
    pub(crate) service: Arc<Service>,
    pub(crate) source: IpAddr,
    pub(crate) now: Timestamp,
}

impl Context {
    pub(crate) fn registry(&self) -> &Registry {
        &self.service.registry
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.service.metrics
    }
}

impl FromRequestParts<Arc<Service>> for Context {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<Service>) -> Result<Self, Failure> {
        let source = Received::of(parts)?.source;
        Ok(Self { service: service.clone(), source, now: service.options.clock.now() })
    }
}
