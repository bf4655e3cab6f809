//! Rules for all requests: headers, other methods and paths.

use std::collections::HashSet;

use serde_json::json;

use crate::caller::{Caller, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

const PATHS: [&str; 6] = ["/register", "/discover", "/heartbeat", "/health", "/network", "/deregister"];

/// One response of each kind that a client can cause.
async fn answers(target: &Target) -> Vec<Response> {
    let (caller, stranger, id) = (Caller::home(target), Caller::elsewhere(target), unique("peer"));
    let body = json!({ "peer_id": id }).to_string();
    let mut answers = vec![
        (200, caller.post("/register", &body).await),
        (200, caller.post("/heartbeat", &body).await),
        (200, caller.get("/discover").await),
        (200, caller.get("/health").await),
        (200, caller.call("HEAD", "/discover", &[], b"").await),
        (204, caller.call("OPTIONS", "/register", &[], b"").await),
        (400, caller.post("/register", "{").await),
        (400, caller.post("/register", "{}").await),
        (400, caller.get("/discover?limit=0").await),
        (400, caller.get("/discover?cursor=x").await),
        (404, caller.get("/nowhere").await),
        (404, caller.heartbeat(&unique("nobody")).await),
        (405, caller.get("/register").await),
        (413, caller.post("/register", &" ".repeat(16_385)).await),
    ];
    if target.sees_sources {
        answers.push((403, stranger.post("/deregister", &body).await));
    }
    answers.push((200, caller.post("/deregister", &body).await));
    answers
        .into_iter()
        .map(|(status, response)| {
            assert_eq!(response.status, status, "{}", response.text());
            response
        })
        .collect()
}

pub async fn every_answer_may_be_read_by_browsers(target: &Target) {
    for response in answers(target).await {
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-methods", "GET,POST,OPTIONS"),
            ("access-control-allow-headers", "Content-Type,X-Amz-Date,Authorization,X-Api-Key"),
            ("access-control-expose-headers", "Retry-After,x-request-id"),
            ("access-control-max-age", "86400"),
        ] {
            assert_eq!(
                response.header(name),
                target.cors.then_some(value),
                "{}: {}",
                response.status,
                response.text()
            );
        }
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
}

pub async fn every_answer_is_uncached(target: &Target) {
    for response in answers(target).await {
        assert_eq!(response.header("cache-control"), Some("no-store"), "{}", response.status);
    }
}

pub async fn every_answer_has_a_name_of_its_own(target: &Target) {
    let answers = answers(target).await;
    let names: HashSet<_> =
        answers.iter().map(|response| response.header("x-request-id").expect("a name")).collect();
    assert_eq!(names.len(), answers.len());
    assert!(names.iter().all(|name| !name.is_empty()));
}

pub async fn every_answer_with_a_body_is_json(target: &Target) {
    for response in answers(target).await.iter().filter(|response| !response.body.is_empty()) {
        let content_type = response.header("content-type").expect("a content type");
        assert!(content_type.starts_with("application/json"), "{content_type}");
    }
}

pub async fn options_answers_204_everywhere(target: &Target) {
    let preflight = [
        ("origin", "https://example.org"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    for path in PATHS {
        for headers in [&preflight[..], &[]] {
            let response = Caller::home(target).call("OPTIONS", path, headers, b"").await;
            assert_eq!((response.status, response.body.len()), (204, 0), "{path}");
        }
    }
}

pub async fn head_says_what_get_would_without_a_body(target: &Target) {
    let caller = Caller::home(target);
    let unknown = format!("/discover?archetype={}", unique("a"));
    for path in ["/health", &unknown, "/discover?limit=0"] {
        let (head, get) = (caller.call("HEAD", path, &[], b"").await, caller.get(path).await);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        if let (Some(length), true) = (head.header("content-length"), target.tells_length) {
            assert_eq!(Some(length), get.header("content-length"));
        }
    }
}

pub async fn a_trailing_slash_means_the_same(target: &Target) {
    let (caller, id) = (Caller::home(target), unique("peer"));
    let body = json!({ "peer_id": id }).to_string();
    for path in ["/register/", "/heartbeat/", "/deregister/"] {
        assert_eq!(caller.post(path, &body).await.ok()["peer_id"], id);
    }
    caller.get("/discover/?limit=1").await.ok();
    caller.get("/health/").await.ok();
    caller.get("/register/").await.refused(405, "method_not_allowed", None);
}

pub async fn a_large_page_is_compressed_only_where_that_is_accepted(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    caller.fill(40, &[&a]).await;
    let path = format!("/discover?archetype={a}");
    for refusing in ["identity", "gzip;q=0", "br", ""] {
        let headers = [("accept-encoding", refusing)];
        let headers = if refusing.is_empty() { &[][..] } else { &headers };
        let response = caller.call("GET", &path, headers, b"").await;
        assert_eq!((response.header("content-encoding"), response.ids().len()), (None, 40), "{refusing}");
    }
    let response = caller.call("GET", &path, &[("accept-encoding", "gzip")], b"").await;
    match response.header("content-encoding") {
        Some("gzip") => assert_eq!(response.body[..2], [0x1f, 0x8b]),
        Some(other) => panic!("{other} was not asked for"),
        None => assert_eq!(response.ids().len(), 40),
    }
}
