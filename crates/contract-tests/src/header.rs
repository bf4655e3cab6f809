//! Rules for all requests: headers, other methods and paths.

use std::collections::HashSet;

use serde_json::json;

use crate::client::{Client, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

const PATHS: [&str; 8] =
    ["/register", "/discover", "/heartbeat", "/health", "/livez", "/readyz", "/network", "/deregister"];

/// Responses of many kinds: successes, preflights, and refusals with different statuses.
async fn responses_of_each_kind(target: &Target) -> Vec<Response> {
    let (client, stranger, id) = (Client::first(target), Client::second(target), unique("peer"));
    let body = json!({ "peer_id": id }).to_string();
    let mut responses = vec![
        (200, client.post("/register", &body).await),
        (200, client.post("/heartbeat", &body).await),
        (200, client.get("/discover").await),
        (200, client.get("/health").await),
        (200, client.get("/livez").await),
        (200, client.get("/readyz").await),
        (200, client.request("HEAD", "/discover", &[], b"").await),
        (204, client.request("OPTIONS", "/register", &[], b"").await),
        (400, client.post("/register", "{").await),
        (400, client.post("/register", "{}").await),
        (400, client.get("/discover?limit=0").await),
        (400, client.get("/discover?cursor=x").await),
        (404, client.get("/nowhere").await),
        (404, client.heartbeat(&unique("unknown")).await),
        (405, client.get("/register").await),
        (413, client.post("/register", &" ".repeat(16_385)).await),
    ];
    if target.sees_sources {
        responses.push((403, stranger.post("/deregister", &body).await));
    }
    responses.push((200, client.post("/deregister", &body).await));
    responses
        .into_iter()
        .map(|(status, response)| {
            assert_eq!(response.status, status, "{}", response.text());
            response
        })
        .collect()
}

const ALLOW_ORIGIN: (&str, &str) = ("access-control-allow-origin", "*");
const EXPOSE_HEADERS: (&str, &str) = ("access-control-expose-headers", "Retry-After,x-request-id");
const PREFLIGHT: [(&str, &str); 4] = [
    ALLOW_ORIGIN,
    ("access-control-allow-methods", "GET,POST,OPTIONS"),
    (
        "access-control-allow-headers",
        "Content-Type,X-Amz-Date,Authorization,X-Api-Key,Last-Event-ID,Cache-Control,traceparent,tracestate,baggage",
    ),
    ("access-control-max-age", "86400"),
];

/// Asserts that a response has these CORS headers and no other, or none if CORS is off.
fn assert_cors(target: &Target, response: &Response, expected: &[(&str, &str)]) {
    let names = PREFLIGHT.iter().chain([&EXPOSE_HEADERS]).map(|(name, _)| *name);
    for name in names.chain(["access-control-allow-credentials"]) {
        let value = expected.iter().find(|(expected, _)| *expected == name).map(|(_, value)| *value);
        let value = value.filter(|_| target.cors);
        assert_eq!(response.header(name), value, "{name} of {}: {}", response.status, response.text());
    }
}

pub async fn every_response_has_the_cors_headers_that_its_kind_needs(target: &Target) {
    for response in responses_of_each_kind(target).await {
        match response.status {
            200 => assert_cors(target, &response, &[ALLOW_ORIGIN]),
            204 => assert_cors(target, &response, &PREFLIGHT),
            _ => assert_cors(target, &response, &[ALLOW_ORIGIN, EXPOSE_HEADERS]),
        }
    }
}

pub async fn every_response_forbids_caching(target: &Target) {
    for response in responses_of_each_kind(target).await {
        assert_eq!(response.header("cache-control"), Some("no-store"), "{}", response.status);
    }
}

pub async fn every_response_has_its_own_request_id(target: &Target) {
    let responses = responses_of_each_kind(target).await;
    let ids: HashSet<_> =
        responses.iter().map(|response| response.header("x-request-id").expect("a request id")).collect();
    assert_eq!(ids.len(), responses.len());
    assert!(ids.iter().all(|id| !id.is_empty()));
}

pub async fn every_response_with_a_body_is_json(target: &Target) {
    for response in responses_of_each_kind(target).await.iter().filter(|response| !response.body.is_empty()) {
        let content_type = response.header("content-type").expect("a content type");
        assert!(content_type.starts_with("application/json"), "{content_type}");
    }
}

pub async fn options_gets_204_on_every_path(target: &Target) {
    let preflight = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    for path in PATHS {
        for headers in [&preflight[..], &[]] {
            let response = Client::first(target).request("OPTIONS", path, headers, b"").await;
            assert_eq!((response.status, response.body.len()), (204, 0), "{path}");
            assert_cors(target, &response, &PREFLIGHT);
        }
    }
}

pub async fn head_is_like_get_without_a_body(target: &Target) {
    let client = Client::first(target);
    let unknown = format!("/discover?archetype={}", unique("a"));
    for path in ["/health", &unknown, "/discover?limit=0"] {
        let (head, get) = (client.request("HEAD", path, &[], b"").await, client.get(path).await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        if let (Some(length), true) = (head.header("content-length"), target.keeps_head_length) {
            assert_eq!(Some(length), get.header("content-length"));
        }
    }
}

pub async fn a_trailing_slash_does_not_change_the_path(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let body = json!({ "peer_id": id }).to_string();
    for path in ["/register/", "/heartbeat/", "/deregister/"] {
        assert_eq!(client.post(path, &body).await.ok()["peer_id"], id);
    }
    client.get("/discover/?limit=1").await.ok();
    client.get("/health/").await.ok();
    client.get("/register/").await.refused(405, "method_not_allowed", None);
}

pub async fn a_large_page_is_compressed_only_if_the_client_accepts_gzip(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    client.register_many(40, &[&a]).await;
    let path = format!("/discover?archetype={a}");
    for codings in ["identity", "gzip;q=0", "br", ""] {
        let headers = [("accept-encoding", codings)];
        let headers = if codings.is_empty() { &[][..] } else { &headers };
        let response = client.request("GET", &path, headers, b"").await;
        assert_eq!((response.header("content-encoding"), response.ids().len()), (None, 40), "{codings}");
    }
    let response = client.request("GET", &path, &[("accept-encoding", "gzip")], b"").await;
    match response.header("content-encoding") {
        Some("gzip") => assert_eq!(response.body[..2], [0x1f, 0x8b]),
        Some(other) => panic!("{other} was not accepted by the client"),
        None => assert_eq!(response.ids().len(), 40),
    }
}
