//! Checks whether browsers can use the responses.

use aurora_discovery_client::{Client, Probe, ProbeResponse};

use super::asked;
use super::finding::Finding;

const CHECK: &str = "cors";
/// A page of a different origin than any service.
const ORIGIN: &str = "https://page.example";
const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// Sends what a browser would send from a page of another origin: a preflight, a request, and a
/// request that is refused.
pub(crate) async fn examine(client: &Client) -> Vec<Finding> {
    let preflight = Probe::options("register")
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let call = Probe::get("discover").parameter("limit", "1").header("origin", ORIGIN);
    let refused = Probe::get("no-such-path").header("origin", ORIGIN);
    let mut answers = Vec::new();
    for probe in [preflight, call, refused] {
        match asked(client, CHECK, probe).await {
            Ok(answer) => answers.push(answer),
            Err(finding) => return vec![finding],
        }
    }
    match answers.as_slice() {
        [preflight, call, refused] => vec![judge(preflight, call, refused), cache(call)],
        _ => Vec::new(),
    }
}

fn judge(preflight: &ProbeResponse, call: &ProbeResponse, refused: &ProbeResponse) -> Finding {
    let all = [preflight, call, refused];
    if let Some(twice) = all.iter().map(|answer| origins(answer)).find(|origins| origins.len() > 1) {
        return Finding::fail(
            CHECK,
            format!("Access-Control-Allow-Origin comes twice ({}), which browsers refuse", twice.join(", ")),
            "let one of the two add it: take it out of the proxy in front, or serve with --no-cors",
        );
    }
    if all.iter().all(|answer| origins(answer).is_empty()) {
        return Finding::warn(
            CHECK,
            "off: browsers can't call from other pages",
            "if they should: EnableCORS=true on AWS, `serve` without --no-cors, and a proxy that lets the headers through",
        );
    }
    if !(200..300).contains(&preflight.status) || !allows(preflight) {
        return Finding::fail(
            CHECK,
            format!(
                "a preflight gets HTTP {} and no leave to send JSON: browsers can't register",
                preflight.status
            ),
            "let OPTIONS through to the service, which answers every preflight",
        );
    }
    if !allows_origin(call) {
        return Finding::fail(
            CHECK,
            "answers may not be read by a page of another origin",
            "let the service's own Access-Control-Allow-Origin (*) through",
        );
    }
    if !allows_origin(refused) {
        return Finding::fail(
            CHECK,
            format!(
                "an error (HTTP {}) has no CORS headers: a page sees a broken network, not the reason",
                refused.status
            ),
            "let the service's headers through on errors too (nginx: add_header … always), and OPTIONS and unknown paths to the service",
        );
    }
    if !names(refused, "access-control-expose-headers", "retry-after") {
        return Finding::warn(
            CHECK,
            "pages may not read Retry-After and x-request-id",
            "let the service's Access-Control-Expose-Headers through",
        );
    }
    Finding::ok(CHECK, "preflights, answers and errors can be read by pages of any origin")
}

/// A cached list of peers that is served again isolates the peers that receive it.
fn cache(call: &ProbeResponse) -> Finding {
    if let Some(age) = call.header("age") {
        return Finding::fail(
            "cache",
            format!("/discover was answered from a cache, {age} s old"),
            "switch caching off for this host: every answer says Cache-Control: no-store",
        );
    }
    if names(call, "cache-control", "no-store") {
        return Finding::ok("cache", "answers are marked as fresh and not to be kept");
    }
    Finding::warn(
        "cache",
        "/discover lacks Cache-Control: no-store, so that something on the way may keep it",
        "let the service's Cache-Control through",
    )
}

fn origins(answer: &ProbeResponse) -> Vec<String> {
    let values = answer.all(ALLOW_ORIGIN);
    values.iter().flat_map(|value| value.split(',')).map(|value| value.trim().to_owned()).collect()
}

fn allows_origin(answer: &ProbeResponse) -> bool {
    matches!(answer.header(ALLOW_ORIGIN), Some("*" | ORIGIN))
}

fn allows(preflight: &ProbeResponse) -> bool {
    // A POST needs no permission for its method; a JSON content type does.
    let headers = "access-control-allow-headers";
    allows_origin(preflight) && (names(preflight, headers, "content-type") || names(preflight, headers, "*"))
}

/// Whether a header that contains a list includes this word.
fn names(answer: &ProbeResponse, header: &str, word: &str) -> bool {
    answer
        .all(header)
        .iter()
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(word))
}
