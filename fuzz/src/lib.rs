//! Sends the inputs of a fuzzer to a service in memory, and panics if a response is malformed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{Clock, DiscoveryService, Origin, ServiceOptions};
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, Registry};
use axum::body::{Body, Bytes};
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};

/// The maximum number of peers. A small registry is soon full, so the fuzzer also reaches the
/// refusals of a full registry, and memory use is bounded.
const MAX_PEERS: u64 = 256;

/// A JSON object whose values stay as they were written. Metadata may contain numbers that no Rust
/// type represents exactly.
type Object = HashMap<String, Box<RawValue>>;

/// The response to one request.
pub struct Response {
    /// The status code.
    pub status: StatusCode,
    /// The complete body, if it is JSON. Other bodies are not read, because an event stream does not
    /// end.
    pub body: Option<Bytes>,
}

impl Response {
    fn object(&self) -> Object {
        let body = self.body.as_ref().expect("a JSON body");
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
    }
}

/// Sends a request to the service of this thread, whose state lasts from one input to the next.
/// Returns `None` if `path_and_query` is not a valid URI.
///
/// # Panics
///
/// If the response is an internal error, if its JSON is invalid, or if it refuses the request without
/// a code and a short error message. Each of these is a finding.
pub fn send(method: &str, path_and_query: &str, body: &[u8]) -> Option<Response> {
    // Input that is not a URI never reaches the service.
    let request =
        Request::builder().method(method).uri(path_and_query).body(Body::from(body.to_vec())).ok()?;
    let response = SERVICE.with_borrow(|service| service.respond(request));
    assert_ne!(response.status, StatusCode::INTERNAL_SERVER_ERROR, "{:?}", response.body);
    if response.status.is_success() {
        // Not every body is an object: `/sd/prometheus` returns a list.
        if let Some(body) = &response.body {
            assert!(serde_json::from_slice::<Box<RawValue>>(body).is_ok(), "{body:?}");
        }
    } else {
        let object = response.object();
        let has_code_and_error =
            object.contains_key("code") && object.get("error").is_some_and(|error| error.get().len() < 1_000);
        assert!(has_code_and_error, "{object:?}");
    }
    Some(response)
}

/// Checks that no stored data can break a read: lists up to three random peers, and checks that
/// each has six keys, as in the legacy view.
///
/// # Panics
///
/// If the list is malformed, or a peer does not have exactly six keys.
pub fn expect_readable() {
    let page = send("GET", "/discover?limit=3", b"").expect("a valid URI").object();
    let peers: Vec<Object> = serde_json::from_str(page["peers"].get()).expect("a list of objects");
    for peer in peers {
        assert_eq!(peer.len(), 6, "{peer:?}");
    }
}

thread_local! {
    static SERVICE: RefCell<Service> = RefCell::new(Service::new());
}

struct Service {
    discovery: DiscoveryService,
    runtime: Runtime,
}

impl Service {
    fn new() -> Self {
        let limits = Limits { max_peers: MAX_PEERS, ..Limits::default() };
        let store = EmbeddedStore::in_memory(limits.clone());
        let registry = Registry::new(store, limits).expect("valid limits");
        let mut options = ServiceOptions::default();
        // With a fixed time, no finding depends on when the fuzzer runs.
        options.clock = Clock::new(|| Timestamp::from_secs(1_759_406_400));
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime without sockets");
        Self { discovery: DiscoveryService::new(Arc::new(registry), options), runtime }
    }

    fn respond(&self, request: Request<Body>) -> Response {
        let origin = Origin { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ..Origin::default() };
        let (parts, body) = self.runtime.block_on(async {
            let response = self.discovery.respond(request, origin).await;
            let (parts, body) = response.into_parts();
            let is_json = parts.headers.get(CONTENT_TYPE).is_some_and(|value| value == "application/json");
            let body =
                if is_json { Some(body.collect().await.expect("a whole body").to_bytes()) } else { None };
            (parts, body)
        });
        Response { status: parts.status, body }
    }
}
