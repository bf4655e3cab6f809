//! Runs the HTTP test suite against the real `bootstrap` behind every kind of gateway, on a
//! DynamoDB stand-in.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses its part of the support")]

#[path = "support/bootstrap.rs"]
mod bootstrap;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/runtime_api.rs"]
mod runtime_api;
#[path = "support/table.rs"]
mod table;

use std::sync::Arc;

use aurora_discovery_contract_tests::{Needs, Target};

use bootstrap::Bootstrap;
use gateway::Kind;
use runtime_api::RuntimeApi;

mod rest_api {
    aurora_discovery_contract_tests::contract_suite!(super::rest);
}

mod rest_api_behind_a_base_path {
    aurora_discovery_contract_tests::contract_suite!(super::rest_base_path);
}

mod http_api {
    aurora_discovery_contract_tests::contract_suite!(super::http);
}

mod http_api_behind_a_base_path {
    aurora_discovery_contract_tests::contract_suite!(super::http_base_path);
}

mod function_url {
    aurora_discovery_contract_tests::contract_suite!(super::function_url);
}

async fn rest(needs: Needs) -> Option<Target> {
    start(Kind::Rest, needs).await
}

async fn rest_base_path(needs: Needs) -> Option<Target> {
    start(Kind::RestBasePath, needs).await
}

async fn http(needs: Needs) -> Option<Target> {
    start(Kind::Http, needs).await
}

async fn http_base_path(needs: Needs) -> Option<Target> {
    start(Kind::HttpBasePath, needs).await
}

async fn function_url(needs: Needs) -> Option<Target> {
    start(Kind::FunctionUrl, needs).await
}

/// Starts a separate function on its own table. Cases that need a settable clock or an exact limit
/// of peers are skipped: the function uses the system's clock, and enforces the limit with an
/// estimated number of peers.
async fn start(kind: Kind, needs: Needs) -> Option<Target> {
    if needs != Needs::NONE {
        return None;
    }
    let (table, endpoint) = table::fresh().await;
    let api = Arc::new(RuntimeApi::start().await);
    let settings = [
        ("AURORA_TABLE", table.as_str()),
        ("AURORA_DYNAMODB_ENDPOINT", &endpoint),
        // The suite tests the bounds that the API documents. The defaults on a table are lower.
        ("AURORA_MAX_ARCHETYPES_PER_PEER", "32"),
        ("AURORA_MAX_PAGE_BYTES", "1048576"),
    ];
    let process = Bootstrap::start(&api.authority(), &settings);
    let mut target = Target::new(gateway::start(kind, api).await, process);
    target.passes_bodies_unchanged = false;
    target.has_change_log = false;
    Some(target)
}
