//! A service in memory that answers whatever a fuzzer makes up, and says when an answer is none.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aurora_embedded::EmbeddedStore;
use aurora_http::{Clock, Origin, RequestId, RouterOptions, router};
use aurora_protocol::Timestamp;
use aurora_registry::{Limits, Registry};
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// A registry so small that it is soon full: the refusals of a full one are answers too, and memory can't grow.
const MAX_PEERS: u64 = 256;

/// The answer to one request.
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

/// Answers a request of the thread's own service, whose state lasts from one input to the next.
///
/// # Panics
/// Where an answer is an internal error, or no JSON object: neither may ever happen.
pub fn answer(method: &str, path_and_query: &str, body: &[u8]) -> Option<Answer> {
    // What is no URI never reaches the service.
    let request = Request::builder().method(method).uri(path_and_query).body(Body::from(body.to_vec())).ok()?;
    let answer = SERVICE.with_borrow(|service| service.answer(request));
    assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", answer.body);
    assert!(answer.body.is_object(), "{}", answer.body);
    if !answer.status.is_success() {
        let named = answer.body["code"].is_string() && answer.body["error"].as_str().is_some_and(|error| error.len() < 1_000);
        assert!(named, "{}", answer.body);
    }
    Some(answer)
}

/// Nothing stored can break a read: all peers are listed, each with the seed's six keys.
///
/// # Panics
/// Where that is not so.
pub fn expect_readable() {
    let page = answer("GET", "/discover?limit=3", b"").map(|answer| answer.body);
    for peer in page.iter().filter_map(|page| page["peers"].as_array()).flatten() {
        assert_eq!(peer.as_object().map(serde_json::Map::len), Some(6), "{peer}");
    }
}

thread_local! {
    static SERVICE: RefCell<Service> = RefCell::new(Service::new());
}

struct Service {
    router: Router,
    runtime: Runtime,
}

impl Service {
    fn new() -> Self {
        let limits = Limits { max_peers: MAX_PEERS, ..Limits::default() };
        let store = EmbeddedStore::in_memory(limits.clone());
        let registry = Registry::new(store, limits).expect("the limits are the defaults but for one");
        let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let origin = move |_: &_| Origin { address: caller, request_id: RequestId::fresh(), time_left: None };
        let mut options = RouterOptions::new(Arc::new(registry), origin);
        // A fixed time makes every finding repeatable.
        options.clock = Clock::new(|| Timestamp::from_secs(1_759_406_400));
        let runtime = Builder::new_current_thread().build().expect("a runtime without drivers");
        Self { router: router(options), runtime }
    }

    fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let (parts, body) = response.into_parts();
            (parts, body.collect().await.expect("a whole body").to_bytes())
        });
        Answer { status: parts.status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }
}
