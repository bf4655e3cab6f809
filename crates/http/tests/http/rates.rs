//! Rate limits, as clients see them. `src/rate/tests.rs` tests the token buckets.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{DiscoveryService, Origin, Rate, RateLimits, ServerOptions, ServiceOptions};
use aurora_discovery_registry::{Limits, Registry};
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::advance;

use crate::support::Service;

const CLIENT: &str = "203.0.113.7";
const PEER: &str = r#"{"peer_id":"p"}"#;

/// A service without sockets. Its rates depend only on tokio's clock, which the tests pause and
/// advance.
struct Limited(DiscoveryService);

impl Limited {
    fn new(rate_limits: Option<RateLimits>) -> Self {
        let limits = Limits::default();
        let store = EmbeddedStore::in_memory(limits.clone());
        let mut options = ServiceOptions::default();
        options.rate_limits = rate_limits;
        Self(DiscoveryService::new(Arc::new(Registry::new(store, limits).unwrap()), options))
    }

    /// The status, the `Retry-After` and the code of a response.
    async fn send(&self, method: Method, path: &str, body: &str, address: &str) -> (u16, Option<u32>, Value) {
        let origin = Origin { address: address.parse().unwrap(), ..Origin::default() };
        let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
        let response = self.0.respond(request, origin).await;
        let retry =
            response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
        let status = response.status().as_u16();
        if path == "/watch" {
            return (status, retry, Value::Null);
        }
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        (status, retry, body["code"].clone())
    }

    async fn status(&self, method: Method, path: &str) -> u16 {
        self.send(method, path, PEER, CLIENT).await.0
    }
}

fn limits(per_second: u32, burst: u32) -> Option<RateLimits> {
    let rate = Rate { per_second, burst };
    Some(RateLimits { requests: rate, heartbeats: rate, ..RateLimits::default() })
}

#[tokio::test(start_paused = true)]
async fn requests_over_the_rate_get_429_with_retry_after() {
    let service = Limited::new(limits(1, 3));
    for (method, path) in
        [(Method::POST, "/register"), (Method::GET, "/discover"), (Method::POST, "/deregister")]
    {
        assert_eq!(service.status(method, path).await, 200, "{path}");
    }
    for (method, path) in [
        (Method::POST, "/register"),
        (Method::GET, "/discover"),
        (Method::GET, "/discover?since=now"),
        (Method::GET, "/watch"),
        (Method::POST, "/deregister"),
        (Method::GET, "/network"),
    ] {
        let (status, retry_after, code) = service.send(method, path, PEER, CLIENT).await;
        assert_eq!(status, 429, "{path}");
        assert!((1..=2).contains(&retry_after.unwrap()), "{path}");
        assert!(code == "rate_limited" || path == "/watch", "{path}: {code}");
    }
    let (status, ..) = service.send(Method::GET, "/discover", "", "198.51.100.1").await;
    assert_eq!(status, 200, "another source has its own rate");
    advance(Duration::from_secs(1)).await;
    assert_eq!(service.status(Method::GET, "/discover").await, 200);
    assert_eq!(service.status(Method::GET, "/discover").await, 429);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_have_their_own_rate_and_health_checks_are_exempt() {
    let service = Limited::new(limits(1, 2));
    assert_eq!(service.status(Method::POST, "/register").await, 200);
    assert_eq!(service.status(Method::GET, "/discover").await, 200);
    assert_eq!(service.status(Method::GET, "/discover").await, 429);
    for status in [200, 200, 429] {
        assert_eq!(service.status(Method::POST, "/heartbeat").await, status);
    }
    for _ in 0..100 {
        assert_eq!(service.status(Method::GET, "/health").await, 200);
        assert_eq!(service.status(Method::OPTIONS, "/register").await, 204);
        assert_eq!(service.status(Method::GET, "/register").await, 405);
    }
}

#[tokio::test(start_paused = true)]
async fn each_peer_of_a_heartbeat_for_many_counts() {
    let service = Limited::new(limits(1, 50));
    let ids: Vec<_> = (0..40).map(|n| format!("p{n}")).collect();
    let many = json!({ "peer_ids": ids }).to_string();
    let (status, ..) = service.send(Method::POST, "/heartbeat", &many, CLIENT).await;
    assert_eq!(status, 200);
    let (status, retry_after, code) = service.send(Method::POST, "/heartbeat", &many, CLIENT).await;
    assert_eq!((status, code), (429, "rate_limited".into()));
    // The first request took 40 of 50 tokens. The second request took one token for its first peer,
    // so nine are left, and its other 39 peers need 39.
    assert!((30..=60).contains(&retry_after.unwrap()), "{retry_after:?}");
}

#[tokio::test(start_paused = true)]
async fn without_the_server_there_are_no_rate_limits_by_default() {
    assert_eq!(ServiceOptions::default().rate_limits, None);
    let service = Limited::new(None);
    for _ in 0..5_000 {
        assert_eq!(service.status(Method::POST, "/heartbeat").await, 404);
    }
}

#[tokio::test]
async fn the_server_limits_rates_by_default_and_exempts_its_own_machine() {
    assert_eq!(ServerOptions::default().service.rate_limits, Some(RateLimits::default()));
    let service = Service::behind_a_proxy().await;
    let ids: Vec<_> = (0..100).map(|n| format!("p{n}")).collect();
    let many = json!({ "peer_ids": ids });
    for _ in 0..100 {
        service.post("/heartbeat", &many.to_string()).await.ok();
    }
    // The burst of 2,000 heartbeats allows twenty of these requests. At 200 heartbeats per second,
    // the service can accept one more every half second. The loop sends them much faster.
    let mut refused = service.client_at(CLIENT).post("/heartbeat", &many).await;
    for _ in 0..1_000 {
        if refused.status == 429 {
            break;
        }
        refused = service.client_at(CLIENT).post("/heartbeat", &many).await;
    }
    refused.refused(429, "rate_limited", None);
}
