//! The paths of the API as one axum router: a handler for each path and method, and responses to
//! all other paths and methods.

use std::sync::Arc;

use aurora_discovery_protocol::Code;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::ALLOW;
use http::{Method, StatusCode, Uri};

use crate::error::Failure;
use crate::handler::{
    block, blocks, deregister, discover, evict, health, heartbeat, livez, mail, mailbox, network, openapi,
    prometheus, readyz, register, unblock, watch,
};
use crate::page;
use crate::route::Route;
use crate::service::Service;

/// The routes and their handlers.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new();
    for route in Route::ALL {
        // Without this fallback, axum responds to other methods with a 405 that has no body.
        let methods = handler(route).options(preflight).fallback(method_not_allowed);
        let with_slash = format!("{}/", route.path());
        router = router.route(route.path(), methods.clone()).route(&with_slash, methods);
    }
    if service.options.page {
        router = page::add_to(router);
    }
    router.fallback(not_found).with_state(service)
}

fn handler(route: Route) -> MethodRouter<Arc<Service>> {
    match route {
        Route::Register => post(register),
        Route::Discover => get(discover),
        Route::Heartbeat => post(heartbeat),
        Route::Deregister => post(deregister),
        Route::Mail => post(mail),
        Route::Mailbox => post(mailbox),
        Route::Health => get(health),
        Route::Livez => get(livez),
        Route::Readyz => get(readyz),
        Route::Network => get(network),
        Route::Watch => get(watch),
        Route::Prometheus => get(prometheus),
        Route::OpenApi => get(openapi),
        Route::Evict => post(evict),
        Route::Block => post(block),
        Route::Unblock => post(unblock),
        Route::Blocks => get(blocks),
    }
}

pub(crate) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

pub(crate) async fn not_found(method: Method, uri: Uri) -> Response {
    const SHOWN_CHARS: usize = 64;
    if method == Method::OPTIONS {
        return preflight().await.into_response();
    }
    // The client chooses the path, which may be long. The message therefore repeats only its start.
    let shown: String = uri.path().chars().take(SHOWN_CHARS).collect();
    let message = format!("there is no path {shown}; /openapi.json lists all paths");
    Failure::new(Code::NotFound, message).into_response()
}

pub(crate) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let Some(route) = Route::of(uri.path()) else { return not_found(method, uri).await };
    let message = format!("{} accepts {}, not {method}", route.path(), route.method());
    ([(ALLOW, route.allow())], Failure::new(Code::MethodNotAllowed, message)).into_response()
}
