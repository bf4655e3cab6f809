//! The responses of the real `bootstrap` while DynamoDB fails, and the state of the table
//! afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses its part of the support")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "../../dynamodb/tests/support/proxy.rs"]
mod proxy;
#[path = "support/runtime_api.rs"]
mod runtime_api;
#[path = "support/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use bootstrap::Bootstrap;
use gateway::Kind;
use proxy::{Fault, Proxy};
use runtime_api::RuntimeApi;

/// The time limit of an invocation that should succeed.
const TIME: Duration = Duration::from_secs(20);
/// The time limit of an invocation during an outage. The function must refuse the request before
/// this limit.
const SHORT: Duration = Duration::from_millis(1_500);

/// The store's own timeout. A response that arrives earlier shows that the function did not wait
/// for this timeout. It is much longer than [`SHORT`], so that a short pause of the machine does
/// not fail the test.
const STORE_DEADLINE: Duration = Duration::from_secs(5);

/// A function on its own table.
struct Function {
    api: RuntimeApi,
    _process: Bootstrap,
}

impl Function {
    async fn start(table: &str, endpoint: &str) -> Self {
        let api = RuntimeApi::start().await;
        let settings =
            [("AURORA_TABLE", table), ("AURORA_DYNAMODB_ENDPOINT", endpoint), ("AURORA_LOG", "off")];
        let process = Bootstrap::start(&api.authority(), &settings);
        Self { api, _process: process }
    }

    /// Sends a request. Returns the status, the seconds of `Retry-After`, and the body of the
    /// response.
    async fn send(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        time: Duration,
    ) -> (u64, Option<u32>, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let event = gateway::request_event(Kind::Rest, method, path, &body);
        let response = self.api.invoke(event, time).await.expect("the function must not fail");
        let wait = gateway::header(&response, "retry-after").map(|seconds| seconds.parse().unwrap());
        let body = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        (response["statusCode"].as_u64().unwrap(), wait, body)
    }

    async fn register(&self, peer: &str, port: u16, archetypes: &[String]) -> u64 {
        let body = json!({"peer_id": peer, "address": "203.0.113.7", "port": port, "archetypes": archetypes});
        self.send("POST", "/register", &body, TIME).await.0
    }

    async fn deregister(&self, peer: &str) -> u64 {
        self.send("POST", "/deregister", &json!({"peer_id": peer}), TIME).await.0
    }

    /// The ports of the peers in the response to a query.
    async fn listed(&self, query: &str) -> BTreeMap<String, u16> {
        let (status, _, body) = self.send("GET", &format!("/discover{query}"), &Value::Null, TIME).await;
        assert_eq!(status, 200, "{body}");
        let peers = body["peers"].as_array().unwrap().iter();
        let port = |peer: &Value| u16::try_from(peer["port"].as_u64().unwrap()).unwrap();
        peers.map(|peer| (peer["peer_id"].as_str().unwrap().to_owned(), port(peer))).collect()
    }
}

#[tokio::test]
async fn during_an_outage_of_dynamodb_every_request_gets_503_in_time_and_the_function_recovers() {
    for fault in [Fault::Throttle, Fault::ServerError, Fault::Reset, Fault::ResetAfter, Fault::Stall] {
        let (table, endpoint) = table::fresh().await;
        assert_eq!(Function::start(&table, &endpoint).await.register("p", 1, &[]).await, 200);
        let proxy = Proxy::in_front_of(&endpoint).await;
        proxy.rule(move |_| fault);
        let function = Function::start(&table, &proxy.endpoint).await;
        let peer = json!({"peer_id": "p"});
        for (method, path, body) in [
            ("POST", "/heartbeat", &peer),
            ("POST", "/register", &json!({"peer_id": "q", "address": "203.0.113.7"})),
            ("GET", "/discover", &Value::Null),
            ("POST", "/deregister", &peer),
        ] {
            function.api.ready().await;
            // The request is repeated if it takes too long, because the machine may pause.
            let is_in_time = async || {
                let start = Instant::now();
                let (status, wait, body) = function.send(method, path, body, SHORT).await;
                assert_eq!(
                    (status, &body["code"]),
                    (503, &json!("unavailable")),
                    "{fault:?}: {path}: {body}"
                );
                assert!(wait.is_some_and(|seconds| seconds >= 1), "{fault:?}: {path}: {wait:?}");
                start.elapsed() < STORE_DEADLINE
            };
            let mut attempts = 1;
            while !is_in_time().await {
                attempts += 1;
                assert!(attempts < 5, "{fault:?}: {path} never gets a response in time");
            }
        }
        assert_eq!(function.send("GET", "/health", &Value::Null, SHORT).await.0, 503, "{fault:?}");
        proxy.rule(|_| Fault::None);
        let (status, _, _) = function.send("POST", "/heartbeat", &json!({"peer_id": "r"}), TIME).await;
        assert_eq!(status, 404, "{fault:?}: the function has not recovered");
    }
}

#[tokio::test]
async fn unprocessed_items_of_a_batch_are_written_before_the_response() {
    let (table, endpoint) = table::fresh().await;
    let proxy = Proxy::in_front_of(&endpoint).await;
    proxy.rule(|_| Fault::PartialBatch);
    let archetypes: Vec<String> = (0..8).map(|n| format!("a{n}")).collect();
    let function = Function::start(&table, &proxy.endpoint).await;
    assert_eq!(function.register("p", 1, &archetypes).await, 200);
    let batches = proxy.take_calls().iter().filter(|call| *call == "BatchWriteItem").count();
    assert!(batches > 2, "the unprocessed items were not written again: {batches}");
    let other = Function::start(&table, &endpoint).await;
    for archetype in &archetypes {
        assert_eq!(other.listed(&format!("?archetype={archetype}")).await.len(), 1, "{archetype}");
    }
}

#[tokio::test]
async fn no_acknowledged_change_is_lost_while_one_call_in_four_fails() {
    let (table, endpoint) = table::fresh().await;
    let proxy = Proxy::in_front_of(&endpoint).await;
    let mut calls = 0;
    proxy.rule(move |_| {
        calls += 1;
        match calls % 20 {
            3 => Fault::Throttle,
            7 => Fault::ServerError,
            11 => Fault::Reset,
            14 => Fault::ResetAfter,
            18 => Fault::PartialBatch,
            _ => Fault::None,
        }
    });
    let function = Function::start(&table, &proxy.endpoint).await;
    // The possible states of each peer: registered with one of these ports, or (0) not registered.
    let mut known: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for step in 1..=150_u16 {
        let peer = format!("p{}", step % 7);
        let possible = known.entry(peer.clone()).or_insert_with(|| BTreeSet::from([0]));
        let (status, state) = match step % 4 {
            0 => (function.deregister(&peer).await, 0),
            _ => (function.register(&peer, step, &["a".to_owned()]).await, step),
        };
        match status {
            200 | 404 => *possible = BTreeSet::from([state]),
            503 => drop(possible.insert(state)),
            other => panic!("step {step}: {other}"),
        }
    }
    proxy.rule(|_| Fault::None);
    let other = Function::start(&table, &endpoint).await;
    for listed in [other.listed("").await, other.listed("?archetype=a").await] {
        for (peer, possible) in &known {
            let found = listed.get(peer).copied().unwrap_or(0);
            assert!(possible.contains(&found), "{peer}: {found} is none of {possible:?}");
        }
    }
}
