//! Tests the real `bootstrap` under `cargo lambda`. The HTTP test suite runs through its `watch`,
//! which sends a function URL's events. Some further tests send events, including those of every
//! kind of gateway, through its `invoke`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
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
    aurora_discovery_contract_tests::contract_suite!(super::start_target);
}

/// Starts a separate function on its own table, as in `contract.rs`. Unlike AWS, `cargo lambda` 1.9
/// gives 127.0.0.1 as the source of every request, and passes on only one of several headers with
/// the same name. If a body has no type and is not UTF-8, `cargo lambda` responds with 500 without
/// calling the function. It sends a length of 0 in each response to HEAD.
async fn start_target(needs: Needs) -> Option<Target> {
    if needs != Needs::NONE {
        return None;
    }
    let (emulator, process) = start().await;
    let mut target = Target::new(emulator.url(), (emulator, process));
    target.sees_sources = false;
    target.passes_binary_bodies = false;
    target.keeps_head_length = false;
    target.passes_bodies_unchanged = false;
    target.passes_repeated_headers = false;
    target.has_change_log = false;
    Some(target)
}

async fn start() -> (CargoLambda, Bootstrap) {
    let (table, endpoint) = table::fresh().await;
    let emulator = CargoLambda::start().await;
    let settings = [
        ("AURORA_TABLE", table.as_str()),
        ("AURORA_DYNAMODB_ENDPOINT", &endpoint),
        // The suite tests the bounds that the API documents. The defaults on a table are lower.
        ("AURORA_MAX_ARCHETYPES_PER_PEER", "32"),
        ("AURORA_MAX_PAGE_BYTES", "1048576"),
    ];
    let process = Bootstrap::start(&emulator.runtime_api(), &settings);
    (emulator, process)
}

#[tokio::test]
async fn a_peer_registers_renews_and_deregisters_through_every_kind_of_gateway() {
    let (emulator, _process) = start().await;
    for kind in Kind::ALL {
        let id = format!("{kind:?}");
        let peer = json!({"peer_id": id, "archetypes": [id]}).to_string();
        let query = format!("/discover?archetype={id}");
        let call = |method, path, body| send(&emulator, kind, method, path, body);
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
async fn an_event_that_is_not_a_request_succeeds_and_a_malformed_request_is_an_error() {
    let (emulator, _process) = start().await;
    assert_eq!(emulator.invoke(&json!({"source": "aws.events"})), Ok(Value::Null));
    let mut broken = gateway::request_event(Kind::Rest, "POST", "/register", "{}");
    broken["body"] = json!("not base64");
    broken["isBase64Encoded"] = json!(true);
    let error = emulator.invoke(&broken).unwrap_err();
    assert!(error.contains("base64"), "{error}");
}

/// The function's response to a request through a gateway of `kind`: its status and its body.
/// Asserts that its request id is the gateway's.
fn send(emulator: &CargoLambda, kind: Kind, method: &str, path: &str, body: &str) -> (u64, Value) {
    let event = gateway::request_event(kind, method, path, body);
    let response = emulator.invoke(&event).expect("the function must not fail");
    assert_eq!(gateway::header(&response, "x-request-id"), event["requestContext"]["requestId"].as_str());
    let body = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    (response["statusCode"].as_u64().unwrap(), body)
}
