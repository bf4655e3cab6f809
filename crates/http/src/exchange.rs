//! The service: axum's router, and [`DiscoveryService::respond`] around it.
//!
//! `respond` reads the whole body of a request before it calls the router, and limits how many
//! handlers run at once. Then it compresses, counts and logs the response, and adds the headers
//! that all responses have. These steps are not layers of the router, because axum clones and boxes
//! every layer, and boxes its future, for each request.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use aurora_discovery_registry::Registry;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use tower::Service as _;

use crate::access::Access;
use crate::audit::{Action, Audited, Entry, RefusedPeers};
use crate::base_path::without_prefix;
use crate::body::receive;
use crate::compress::compress_and_budget;
use crate::connection::state::ConnectionState;
use crate::error::Failure;
use crate::gzip::accepts_gzip;
use crate::limit::limited;
use crate::log::Exchange;
use crate::options::ServiceOptions;
use crate::origin::Origin;
use crate::rate::Charge;
use crate::request_context::RequestContext;
use crate::route::Route;
use crate::router::{not_found, router};
use crate::service::Service;

/// What the server's connection passes to the service with a request, in addition to its
/// [`Origin`].
#[derive(Default)]
pub(crate) struct ConnectionDetails {
    /// The state of the connection.
    pub(crate) connection: Option<Arc<ConnectionState>>,
    /// The refusal of a request whose head is malformed.
    pub(crate) malformed: Option<Failure>,
    /// The refusal, if the trusted proxies did not say where the request came from. The origin then
    /// has the address of the other end of the connection. This may be the address of a proxy,
    /// which must not be mistaken for the client's.
    pub(crate) unknown_client: Option<Failure>,
}

/// A mark in the extensions of a response: the source of the request exceeds its rate. Some
/// requests, such as health checks, are served nevertheless. The mark makes the connection delay
/// the response.
#[derive(Clone, Copy)]
pub(crate) struct OverRate;

/// The HTTP API over one registry, for any transport.
///
/// The transport provides the [`Origin`] of each request, and limits how long a body may take to
/// arrive.
#[derive(Clone)]
pub struct DiscoveryService {
    service: Arc<Service>,
    router: Router,
}

impl DiscoveryService {
    /// The API over `registry`.
    pub fn new(registry: Arc<Registry>, options: ServiceOptions) -> Self {
        Self::of(Arc::new(Service::new(registry, options)))
    }

    pub(crate) fn of(service: Arc<Service>) -> Self {
        Self { router: router(service.clone()), service }
    }

    /// Whether clients are to close their connections.
    pub(crate) fn is_draining(&self) -> bool {
        self.service.shutdown.is_draining()
    }

    /// The service with other handlers.
    #[cfg(test)]
    pub(crate) fn around(router: Router, service: Arc<Service>) -> Self {
        Self { service, router }
    }

    /// Reads the request's body and runs its handler. Then compresses, counts and logs the
    /// response, and adds the common headers.
    pub async fn respond<B>(&self, request: http::Request<B>, origin: Origin) -> Response
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        self.respond_on(request, origin, ConnectionDetails::default()).await
    }

    /// Like [`Self::respond`], for a request on a connection of the server.
    pub(crate) async fn respond_on<B>(
        &self,
        request: http::Request<B>,
        origin: Origin,
        details: ConnectionDetails,
    ) -> Response
    where
        B: HttpBody<Data = Bytes> + Send,
        B::Error: Into<BoxError>,
    {
        let service = &self.service;
        let (mut parts, body) = request.into_parts();
        let ConnectionDetails { connection, malformed, unknown_client } = details;
        let body = match &malformed {
            None => receive(body, service.unfinished_bodies.share(origin.address)).await,
            Some(refusal) => Err(refusal.clone()),
        };
        let started = Instant::now();
        let uri = parts.uri.clone();
        if let Some(prefix) = &service.options.base_path
            && let Some(uri) = without_prefix(&parts.uri, prefix)
        {
            parts.uri = uri;
        }
        let (method, route) = (parts.method.clone(), Route::of(parts.uri.path()));
        let accepts_gzip = accepts_gzip(&parts.headers);
        let access = Access::of(&service.options, &parts.headers);
        let source = origin.address;
        let multiplexed = connection.as_ref().filter(|connection| connection.is_multiplexed()).cloned();
        parts.extensions.insert(RequestContext {
            source,
            body: body.clone(),
            access: access.clone(),
            connection,
        });
        // The handler's future is pinned here. It is large, and each future around it would
        // otherwise move it.
        let handler = pin!(self.handle(Request::from_parts(parts, Body::empty())));
        // `None` if no handler of the API gets the request: for an unknown path, for a method that
        // the route does not have, and for operators' routes if no key has the scope `admin`.
        let handled_route = route.filter(|route| access.has(*route) && route.accepts_method(&method));
        // Malformed requests, requests without a handler and health checks always get a response.
        // If their source exceeds its rate, the response is only delayed.
        let is_free = malformed.is_some() || handled_route.is_none_or(|route| route.charge().is_none());
        let is_over_rate = is_free && service.rates.take(Charge::Others, source, 1).is_err();
        let mut response = match (malformed, handled_route) {
            (Some(refusal), _) => refusal.into_response(),
            (None, _) if route.is_some_and(|route| !access.has(route)) => {
                not_found(method.clone(), uri.clone()).await
            }
            // A 404, a 405 and a preflight need no permit.
            (None, None) => handler.await,
            (None, Some(route)) => match self.admit(route, source, unknown_client, &access) {
                Ok(()) if !route.needs_permit() => handler.await,
                Ok(()) => limited(service, origin.time_left, handler).await,
                Err(refusal) => refusal.into_response(),
            },
        };
        if method == Method::HEAD {
            remove_body(&mut response);
        } else {
            response = compress_and_budget(
                response,
                accepts_gzip,
                source,
                service,
                multiplexed,
                method == Method::GET,
            )
            .await;
        }

        if is_over_rate {
            response.extensions_mut().insert(OverRate);
        }
        let (latency, status) = (started.elapsed(), response.status());
        let failure = response.extensions().get::<Failure>();
        service.metrics.responded(route, status, failure.map(|failure| failure.refusal.code), latency);
        let sent = body.as_deref().unwrap_or_default();
        self.audit(handled_route, sent, &response, &access, &origin);
        if service.log.wants(status) {
            let (path, body) = (uri.path(), sent);
            Exchange { route, path, method: &method, body, origin: &origin, status, failure, latency }.log();
        }
        service.headers.complete(&mut response, &method, origin.request_id);
        response
    }

    /// Writes the lines about this request to the audit log. Most requests cause none.
    fn audit(
        &self,
        route: Option<Route>,
        body: &[u8],
        response: &Response,
        access: &Access,
        origin: &Origin,
    ) {
        let (Some(audit), Some(route)) = (&self.service.options.audit, route) else { return };
        let failure = response.extensions().get::<Failure>();
        let refused = || failure.and_then(|failure| Audited::of_refusal(route, failure, body));
        let write = |audited: &Audited, code| {
            audit.write(&Entry {
                time: self.service.registry.shown(self.service.options.clock.now()),
                audited,
                client: origin.address,
                api_key: access.key_name().map(AsRef::as_ref),
                path: route.path(),
                status: response.status().as_u16(),
                code,
                request_id: origin.request_id.as_str(),
            });
        };
        if let Some(audited) = response.extensions().get::<Audited>().cloned().or_else(refused) {
            write(&audited, failure.map(|failure| failure.refusal.code));
        }
        if let Some(RefusedPeers(peers)) = response.extensions().get() {
            for (peer, code) in peers {
                let audited = Audited { peer_id: Some(peer.clone()), ..Action::Refused.into() };
                write(&audited, Some(*code));
            }
        }
    }

    /// Checks whether a request may be handled: its client must be known and within its rate, and
    /// must have the key that the route needs. Health checks are always handled.
    fn admit(
        &self,
        route: Route,
        source: IpAddr,
        unknown_client: Option<Failure>,
        access: &Access,
    ) -> Result<(), Failure> {
        let Some(charge) = route.charge() else { return Ok(()) };
        if let Some(refusal) = unknown_client {
            return Err(refusal);
        }
        // The request counts against the rate before its key is checked, so that the rate also
        // bounds how many keys a source can try.
        self.service.rates.take(charge, source, 1)?;
        route.scope().map_or(Ok(()), |scope| access.check(scope))
    }

    async fn handle(&self, request: Request) -> Response {
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Removes the body of a response to `HEAD`. axum does so for the responses of its router. A
/// response that was made outside the router, such as the refusal by a rate limit, still has a
/// body, which hyper would send over HTTP/2.
fn remove_body(response: &mut Response) {
    if let Some(length) = response.body().size_hint().exact().filter(|length| *length > 0) {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        *response.body_mut() = Body::empty();
    }
}
