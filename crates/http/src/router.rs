//! The API as one axum router.
//!
//! From the outside to the inside, a request passes through: [`exchange`], which reads the body,
//! and compresses, counts, logs and completes the response; axum's routes; [`limit`]; and the
//! handler. The limits apply to handlers only. A 404, a 405 or a preflight therefore needs no
//! permit, and a body that is still arriving holds none.

use std::sync::Arc;

use aurora_protocol::Code;
use aurora_registry::Registry;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::ALLOW;
use http::{Method, StatusCode, Uri};

use crate::error::Failure;
use crate::exchange::exchange;
use crate::handler::{deregister, discover, health, heartbeat, network, openapi, register, watch};
use crate::limit::limit;
use crate::options::ServiceOptions;
use crate::route::Route;
use crate::service::Service;

/// The router of the API, with the rules and peers of `registry`.
///
/// The transport puts an [`Origin`](crate::Origin) into the extensions of each request, and limits
/// how long a body may take to arrive.
pub fn router(registry: Arc<Registry>, options: ServiceOptions) -> Router {
    routes(Arc::new(Service::new(registry, options)))
}

/// The routes of a service and the layers around them.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    let limits = from_fn_with_state(service.clone(), limit);
    let mut router = Router::new();
    for route in Route::ALL {
        let methods =
            handler(route).route_layer(limits.clone()).options(preflight).fallback(method_not_allowed);
        let with_slash = format!("{}/", route.path());
        router = router.route(route.path(), methods.clone()).route(&with_slash, methods);
    }
    let around_all = from_fn_with_state(service.clone(), exchange);
    router.fallback(not_found).layer(around_all).with_state(service)
}

fn handler(route: Route) -> MethodRouter<Arc<Service>> {
    match route {
        Route::Register => post(register),
        Route::Discover => get(discover),
        Route::Heartbeat => post(heartbeat),
        Route::Deregister => post(deregister),
        Route::Health => get(health),
        Route::Network => get(network),
        Route::Watch => get(watch),
        Route::OpenApi => get(openapi),
    }
}

async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

async fn not_found(method: Method, uri: Uri) -> Response {
    const SHOWN_CHARS: usize = 64;
    if method == Method::OPTIONS {
        return preflight().await.into_response();
    }
    let shown: String = uri.path().chars().take(SHOWN_CHARS).collect();
    let message = format!("there is nothing at {shown}; /openapi.json lists what there is");
    Failure::new(Code::NotFound, message).into_response()
}

async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let Some(route) = Route::of(uri.path()) else { return not_found(method, uri).await };
    let message = format!("{} takes {}, not {method}", route.path(), route.method());
    ([(ALLOW, route.allow())], Failure::new(Code::MethodNotAllowed, message)).into_response()
}
