//! The headers of responses and requests, and the rules for addresses and archetypes.

use http::Method;
use serde_json::json;

use crate::support::{Service, one_response_of_each_kind};

#[tokio::test]
async fn without_cors_no_response_has_cors_headers() {
    let service = Service::with(|options| {
        options.limits.max_peers = 1;
        options.server.service.cors = false;
    })
    .await;
    for response in one_response_of_each_kind(&service).await {
        let cors: Vec<_> =
            response.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(cors.is_empty(), "{cors:?}");
    }
}

#[tokio::test]
async fn a_request_id_is_accepted_from_a_trusted_hop() {
    let headers = [("x-request-id", "gateway-7")];
    for (service, accepted) in [(Service::behind_a_proxy().await, true), (Service::start().await, false)] {
        let response = service.request(Method::GET, "/health", &headers, "").await;
        assert_eq!(response.header("x-request-id") == Some("gateway-7"), accepted);
    }
}

#[tokio::test]
async fn a_link_local_client_must_send_its_address() {
    let service = Service::behind_a_proxy().await;
    for id in ["fe80::1", "169.254.1.1"] {
        let host = service.client_at(id);
        for body in [json!({ "peer_id": id }), json!({"peer_id": id, "address": ""})] {
            let refused = host.post("/register", &body).await;
            refused.refused(400, "invalid_field", Some("address"));
            assert!(refused.json()["error"].as_str().unwrap().starts_with("address must be sent"));
        }
        host.post("/register", &json!({"peer_id": id, "address": "printer.local"})).await.ok();
    }
}

#[tokio::test]
async fn a_peer_has_at_most_as_many_archetypes_as_the_operator_allows() {
    let service = Service::with(|options| options.limits.max_archetypes_per_peer = 2).await;
    service.post("/register", r#"{"peer_id":"p","archetypes":["a","b"]}"#).await.ok();
    let refused = service.post("/register", r#"{"peer_id":"p","archetypes":["a","b","c"]}"#).await;
    refused.refused(400, "invalid_field", Some("archetypes"));
    assert!(refused.json()["error"].as_str().unwrap().contains("at most 2"));
}
