//! Runs the HTTP test suite against the real `bootstrap` under `cargo lambda`: over HTTP through
//! its `watch`, which sends a function URL's events, and with the events of every kind of gateway
//! through its `invoke`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what does not start fails the test"
)]
#![allow(dead_code, reason = "each test uses its part of the support")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/cargo_lambda.rs"]
mod cargo_lambda;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/runtime_api.rs"]
mod runtime_api;
#[path = "support/table.rs"]
mod table;

use aurora_discovery_contract_tests::{Needs, Target};
use serde_json::{Value, json};

use bootstrap::Bootstrap;
use cargo_lambda::CargoLambda;
use gateway::Kind;

mod watch {
    aurora_discovery_contract_tests::contract_suite!(super::watched);
}

/// A separate function on its own table, as in `contract.rs`. `cargo lambda` 1.9 gives 127.0.0.1 as
/// the source of every request, responds with 500 by itself to a body without a type that is not
/// UTF-8, and sends a length of 0 in each response to HEAD.
async fn watched(needs: Needs) -> Option<Target> {
    if needs != Needs::NONE {
        return None;
    }
    let (emulator, process) = start().await;
    let mut target = Target::new(emulator.url(), (emulator, process));
    target.sees_sources = false;
    target.passes_binary_bodies = false;
    target.keeps_head_length = false;
    target.passes_bodies_unchanged = false;
    target.has_change_log = false;
    Some(target)
}

async fn start() -> (CargoLambda, Bootstrap) {
    let (table, endpoint) = table::fresh().await;
    let emulator = CargoLambda::start().await;
    let settings = [("AURORA_TABLE", table.as_str()), ("AURORA_DYNAMODB_ENDPOINT", &endpoint)];
    let process = Bootstrap::start(&emulator.runtime_api(), &settings);
    (emulator, process)
}

#[tokio::test]
async fn a_peer_lives_by_the_events_of_every_kind_of_gateway() {
    let (emulator, _process) = start().await;
    for kind in Kind::ALL {
        let id = format!("{kind:?}");
        let peer = json!({"peer_id": id, "archetypes": [id]}).to_string();
        let query = format!("/discover?archetype={id}");
        let call = |method, below, body| answer(&emulator, kind, method, below, body);
        assert_eq!(call("GET", "/health", ""), (200, json!({"status": "healthy"})));
        assert_eq!(call("POST", "/heartbeat", &peer).0, 404, "{kind:?}");
        let (status, lease) = call("POST", "/register", &peer);
        assert_eq!((status, &lease["observed_address"]), (200, &json!("203.0.113.7")), "{kind:?}");
        assert_eq!(call("GET", &query, "").1["peers"][0]["peer_id"], id);
        assert_eq!(call("POST", "/heartbeat", &peer).0, 200, "{kind:?}");
        assert_eq!(call("POST", "/deregister", &peer).0, 200, "{kind:?}");
        assert_eq!(call("GET", &query, "").1["count"], 0, "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered_quietly_and_what_cant_be_read_is_an_error() {
    let (emulator, _process) = start().await;
    assert_eq!(emulator.invoke(&json!({"source": "aws.events"})), Ok(Value::Null));
    let mut broken = gateway::call(Kind::Rest, "POST", "/register", "{}");
    broken["body"] = json!("not base64");
    broken["isBase64Encoded"] = json!(true);
    let error = emulator.invoke(&broken).unwrap_err();
    assert!(error.contains("base64"), "{error}");
}

/// The function's response to a request through a gateway of `kind`: its status and its body.
/// Asserts that its request id is the gateway's.
fn answer(emulator: &CargoLambda, kind: Kind, method: &str, below: &str, body: &str) -> (u64, Value) {
    let event = gateway::call(kind, method, below, body);
    let answer = emulator.invoke(&event).expect("the function does not fail");
    assert_eq!(gateway::header(&answer, "x-request-id"), event["requestContext"]["requestId"].as_str());
    let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (answer["statusCode"].as_u64().unwrap(), body)
}
