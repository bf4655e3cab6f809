//! What every answer carries, whatever it answers.

use std::collections::HashSet;

use http::Method;

use crate::support::{Reply, Service};

const CORS: [(&str, &str); 5] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET,POST,OPTIONS"),
    ("access-control-allow-headers", "Content-Type,X-Amz-Date,Authorization,X-Api-Key"),
    ("access-control-expose-headers", "Retry-After,x-request-id"),
    ("access-control-max-age", "86400"),
];

/// One answer of each kind.
async fn answers(service: &Service) -> Vec<Reply> {
    service.post("/register", r#"{"peer_id":"p"}"#).await.ok();
    let answers = vec![
        service.get("/discover").await,
        service.get("/openapi.json").await,
        service.post("/heartbeat", r#"{"peer_id":"p"}"#).await,
        service.call(Method::HEAD, "/health", &[], "").await,
        service.call(Method::OPTIONS, "/register", &[], "").await,
        service.call(Method::OPTIONS, "/nowhere", &[], "").await,
        service.post("/heartbeat", "{").await,
        service.post("/heartbeat", r#"{"peer_id":"x"}"#).await,
        service.post("/heartbeat", &"x".repeat(20_000)).await,
        service.get("/nowhere").await,
        service.get("/register").await,
        service.post("/register", r#"{"peer_id":"newcomer"}"#).await,
    ];
    let statuses: Vec<_> = answers.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 204, 204, 400, 404, 413, 404, 405, 503]);
    answers
}

#[tokio::test]
async fn every_answer_may_be_read_by_browsers_errors_and_preflights_too() {
    let service = Service::with(|setting| setting.limits.max_peers = 1).await;
    for reply in answers(&service).await {
        for (name, value) in CORS {
            assert_eq!(reply.header(name), Some(value), "{name} of {reply:?}");
        }
    }
}

#[tokio::test]
async fn without_cors_there_is_none_of_it() {
    let service = Service::with(|setting| {
        setting.limits.max_peers = 1;
        setting.options.service.cors = false;
    })
    .await;
    for reply in answers(&service).await {
        let cors: Vec<_> =
            reply.headers.keys().filter(|name| name.as_str().starts_with("access-control")).collect();
        assert!(cors.is_empty(), "{cors:?}");
    }
}

#[tokio::test]
async fn every_answer_is_uncached_and_named() {
    let service = Service::with(|setting| setting.limits.max_peers = 1).await;
    let answers = answers(&service).await;
    assert!(answers.iter().all(|reply| reply.header("cache-control") == Some("no-store")));
    let names: HashSet<_> = answers.iter().map(|reply| reply.header("x-request-id").unwrap()).collect();
    assert_eq!(names.len(), answers.len());
}

#[tokio::test]
async fn a_trusted_hop_names_the_request() {
    let headers = [("x-request-id", "gateway-7")];
    for (service, taken) in [(Service::behind_a_proxy().await, true), (Service::start().await, false)] {
        let reply = service.call(Method::GET, "/health", &headers, "").await;
        assert_eq!(reply.header("x-request-id") == Some("gateway-7"), taken);
    }
}

#[tokio::test]
async fn head_says_what_get_would_and_sends_no_body() {
    let service = Service::start().await;
    for path in ["/health", "/discover", "/openapi.json", "/discover?limit=0"] {
        let (get, head) = (service.get(path).await, service.call(Method::HEAD, path, &[], "").await);
        assert_eq!(head.status, get.status);
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn options_answers_204_everywhere() {
    let service = Service::start().await;
    for path in ["/register", "/discover/", "/openapi.json", "/", "/nowhere"] {
        let reply = service.call(Method::OPTIONS, path, &[("origin", "https://example.org")], "").await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0), "{path}");
    }
}

#[tokio::test]
async fn a_trailing_slash_means_the_same() {
    let service = Service::start().await;
    service.post("/register/", r#"{"peer_id":"p"}"#).await.ok();
    service.post("/heartbeat/", r#"{"peer_id":"p"}"#).await.ok();
    assert_eq!(service.get("/discover/?limit=1").await.ids(), ["p"]);
    service.get("/health/").await.ok();
    service.post("/deregister/", r#"{"peer_id":"p"}"#).await.ok();
}
