//! Every refusal in the contract.

use aurora_protocol::MAX_BODY_BYTES;
use http::Method;

use crate::support::Service;
use crate::support::faulty::Faulty;
use crate::support::raw::Raw;

#[tokio::test]
async fn a_body_that_breaks_a_rule_is_refused_by_key() {
    let service = Service::start().await;
    for (body, code, field) in [
        ("", "invalid_body", None),
        ("[]", "invalid_body", None),
        (r#"{"peer_id":"p""#, "invalid_body", None),
        (r#"{"peer_id":"p","peer_id":"p"}"#, "invalid_body", None),
        (r#"{}"#, "invalid_field", Some("peer_id")),
        (r#"{"peer_id":"a b"}"#, "invalid_field", Some("peer_id")),
        (r#"{"peer_id":"p","address":"224.0.0.1"}"#, "invalid_field", Some("address")),
        (r#"{"peer_id":"p","port":65536}"#, "invalid_field", Some("port")),
        (r#"{"peer_id":"p","archetypes":["a "]}"#, "invalid_field", Some("archetypes")),
        (r#"{"peer_id":"p","metadata":[]}"#, "invalid_field", Some("metadata")),
        (r#"{"peer_id":"p","ttl_seconds":29}"#, "invalid_field", Some("ttl_seconds")),
        (r#"{"peer_id":"p","ttl_seconds":3601}"#, "invalid_field", Some("ttl_seconds")),
        (r#"{"peer_id":"p","lease_token":""}"#, "invalid_field", Some("lease_token")),
        (r#"{"peer_id":"p","discover":{"limit":101}}"#, "invalid_field", Some("discover.limit")),
    ] {
        service.post("/register", body).await.refused(400, code, field);
    }
    for path in ["/heartbeat", "/deregister"] {
        service.post(path, "{").await.refused(400, "invalid_body", None);
        service.post(path, "{}").await.refused(400, "invalid_field", Some("peer_id"));
    }
    assert!(service.get("/discover").await.ids().is_empty());
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_refused() {
    let service = Service::start().await;
    let request = service.client.post(service.url("/heartbeat")).body(&b"{\"peer_id\":\"\xff\"}"[..]);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert!(response.text().await.unwrap().contains("invalid_body"));
}

#[tokio::test]
async fn a_parameter_that_breaks_its_rule_is_refused_by_name() {
    let service = Service::start().await;
    for (query, code, field) in [
        ("limit=0", "invalid_parameter", "limit"),
        ("limit=1001", "invalid_parameter", "limit"),
        ("limit=1&limit=2", "invalid_parameter", "limit"),
        ("limit=+1", "invalid_parameter", "limit"),
        ("order=newest", "invalid_parameter", "order"),
        ("view=all", "invalid_parameter", "view"),
        ("exclude=", "invalid_parameter", "exclude"),
        ("archetype=+a", "invalid_parameter", "archetype"),
        ("archetype=%FF", "invalid_parameter", "archetype"),
        ("cursor=x&order=sample", "invalid_parameter", "cursor"),
        ("cursor=x", "invalid_cursor", "cursor"),
    ] {
        service.get(&format!("/discover?{query}")).await.refused(400, code, Some(field));
    }
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let service = Service::start().await;
    for path in ["/", "/peers", "/discover/x", "/health//"] {
        service.get(path).await.refused(404, "not_found", None);
        service.post(path, "{}").await.refused(404, "not_found", None);
    }
}

#[tokio::test]
async fn a_wrong_method_is_refused_with_those_that_are_allowed() {
    let service = Service::start().await;
    for (method, path, allow) in [
        (Method::GET, "/register", "POST, OPTIONS"),
        (Method::HEAD, "/heartbeat", "POST, OPTIONS"),
        (Method::DELETE, "/deregister/", "POST, OPTIONS"),
        (Method::POST, "/discover", "GET, HEAD, OPTIONS"),
        (Method::PUT, "/health", "GET, HEAD, OPTIONS"),
        (Method::PATCH, "/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        let reply = service.call(method.clone(), path, &[], "").await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some(allow)), "{method} {path}");
        if method != Method::HEAD {
            reply.refused(405, "method_not_allowed", None);
        }
    }
}

/// A registration of exactly so many bytes.
fn registration_of(bytes: usize) -> String {
    let rest = r#"{"peer_id":"p","x":""}"#.len();
    format!(r#"{{"peer_id":"p","x":"{}"}}"#, "x".repeat(bytes - rest))
}

#[tokio::test]
async fn a_body_may_have_16_kib_and_not_a_byte_more() {
    let service = Service::start().await;
    service.post("/register", &registration_of(MAX_BODY_BYTES)).await.ok();
    for bytes in [MAX_BODY_BYTES + 1, 100_000, 2_000_000] {
        service.post("/register", &registration_of(bytes)).await.refused(413, "body_too_large", None);
    }
}

#[tokio::test]
async fn a_chunked_body_is_bounded_the_same() {
    let service = Service::start().await;
    for (bytes, status) in [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)] {
        let mut raw = Raw::open(service.address).await;
        raw.send("POST /register HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for chunk in registration_of(bytes).as_bytes().chunks(1_000) {
            raw.send(&format!("{:x}\r\n{}\r\n", chunk.len(), str::from_utf8(chunk).unwrap())).await;
        }
        raw.send("0\r\n\r\n").await;
        let answer = raw.answer().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn a_length_that_lies_is_refused_before_its_body_comes() {
    let service = Service::start().await;
    let mut raw = Raw::open(service.address).await;
    raw.send("POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n{").await;
    let answer = raw.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
}

#[tokio::test]
async fn a_full_registry_refuses_newcomers_and_never_members() {
    let service = Service::with(|setting| setting.limits.max_peers = 1).await;
    service.post("/register", r#"{"peer_id":"member"}"#).await.ok();
    let refused = service.post("/register", r#"{"peer_id":"newcomer"}"#).await;
    refused.refused(503, "registry_full", None);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    service.post("/register", r#"{"peer_id":"member","port":2}"#).await.ok();
    service.post("/heartbeat", r#"{"peer_id":"member"}"#).await.ok();
}

#[tokio::test]
async fn a_store_that_cannot_keep_anything_is_unavailable_and_unhealthy() {
    let service = Service::start().await;
    service.registry.close().await.unwrap();
    let refused = service.post("/register", r#"{"peer_id":"p"}"#).await;
    refused.refused(503, "unavailable", None);
    assert!(refused.header("retry-after").is_some());
    let health = service.get("/health").await;
    assert_eq!((health.status.as_u16(), &health.json()["status"]), (503, &"unhealthy".into()));
    assert!(health.header("retry-after").is_some());
}

#[tokio::test]
async fn what_breaks_inside_tells_the_caller_nothing_but_a_request_id() {
    let service = Service::with(|setting| setting.store = Faulty::over).await;
    for fault in ["breaks", "panics"] {
        let reply = service.post("/heartbeat", &format!(r#"{{"peer_id":"{fault}"}}"#)).await;
        reply.refused(500, "internal", None);
        assert_eq!(reply.json()["error"], "Internal server error");
        assert!(!reply.header("x-request-id").unwrap().is_empty());
    }
    assert_eq!(service.get("/health").await.status, 200, "one request's bug ends nothing else");
}
