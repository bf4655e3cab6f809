//! Checks whether browsers can use the responses.

use aurora_discovery_client::{Client, Probe, ProbeResponse};

use super::finding::Finding;
use super::send_probe;
use super::test_peer::outcome;

const CHECK: &str = "cors";
/// A page of a different origin than any service.
const ORIGIN: &str = "https://page.example";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Sends what a browser sends for a page from another origin: a preflight, a request, and a request
/// that the service refuses.
pub(crate) async fn examine(client: &Client) -> Vec<Finding> {
    let preflight = Probe::options("register")
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let request = Probe::get("discover").parameter("limit", "1").header("origin", ORIGIN);
    let refused = Probe::get("no-such-path").header("origin", ORIGIN);
    let mut responses = Vec::new();
    for probe in [preflight, request, refused] {
        match send_probe(client, CHECK, probe).await {
            Ok(response) => responses.push(response),
            Err(finding) => return vec![finding],
        }
    }
    match responses.as_slice() {
        [preflight, request, refused] => vec![judge(preflight, request, refused), cache(request)],
        _ => Vec::new(),
    }
}

fn judge(preflight: &ProbeResponse, request: &ProbeResponse, refused: &ProbeResponse) -> Finding {
    let all = [preflight, request, refused];
    if let Some(twice) = all.iter().map(|response| origins(response)).find(|origins| origins.len() > 1) {
        return Finding::fail(
            CHECK,
            format!(
                "Access-Control-Allow-Origin appears twice ({}), which browsers reject",
                twice.join(", ")
            ),
            "let only one of them add it: remove it from the proxy, or start the service with --no-cors",
        );
    }
    if all.iter().all(|response| origins(response).is_empty()) {
        return Finding::warn(
            CHECK,
            "off: pages of other origins can't use the service",
            "if they should: set EnableCORS=true on AWS, start `serve` without --no-cors, and let the headers pass through any proxy",
        );
    }
    if !(200..300).contains(&preflight.status) || !allows_json(preflight) {
        return Finding::fail(
            CHECK,
            format!(
                "a preflight gets {} without permission to send JSON: browsers can't register",
                outcome(preflight)
            ),
            "forward OPTIONS requests to the service, which responds to every preflight",
        );
    }
    if !allows_origin(request) {
        return Finding::fail(
            CHECK,
            "pages of other origins may not read responses",
            "let the service's Access-Control-Allow-Origin (*) pass through the proxy",
        );
    }
    if !allows_origin(refused) {
        return Finding::fail(
            CHECK,
            format!(
                "an error ({}) has no CORS headers: a page sees a network failure instead of the reason",
                outcome(refused)
            ),
            "let the service's headers pass on errors too (nginx: add_header … always), and forward OPTIONS and unknown paths to the service",
        );
    }
    if !lists(refused, "access-control-expose-headers", "retry-after") {
        return Finding::warn(
            CHECK,
            "pages may not read Retry-After and x-request-id",
            "let the service's Access-Control-Expose-Headers pass through the proxy",
        );
    }
    Finding::ok(CHECK, "pages of any origin can send preflights and read responses and errors")
}

/// Checks that responses are not cached. Peers that receive the same cached list become isolated
/// from the rest of the network.
fn cache(request: &ProbeResponse) -> Finding {
    if let Some(age) = request.header("age") {
        return Finding::fail(
            "cache",
            format!("/discover returned a cached response that is {age} s old"),
            "disable caching for this host: every response has Cache-Control: no-store",
        );
    }
    if lists(request, "cache-control", "no-store") {
        return Finding::ok("cache", "responses are fresh and marked as not cacheable");
    }
    Finding::warn(
        "cache",
        "/discover lacks Cache-Control: no-store, so a proxy may cache it",
        "let the service's Cache-Control pass through the proxy",
    )
}

fn origins(response: &ProbeResponse) -> Vec<String> {
    let values = response.all(ALLOW_ORIGIN);
    values.iter().flat_map(|value| value.split(',')).map(|value| value.trim().to_owned()).collect()
}

fn allows_origin(response: &ProbeResponse) -> bool {
    matches!(response.header(ALLOW_ORIGIN), Some("*" | ORIGIN))
}

fn allows_json(preflight: &ProbeResponse) -> bool {
    // Without a header that permits `content-type`, browsers send no POST with a JSON content type
    // to another origin.
    let headers = "access-control-allow-headers";
    allows_origin(preflight) && (lists(preflight, headers, "content-type") || lists(preflight, headers, "*"))
}

/// Whether a header that contains a list includes this word.
fn lists(response: &ProbeResponse, header: &str, word: &str) -> bool {
    response
        .all(header)
        .iter()
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}
