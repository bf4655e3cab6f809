//! `GET /watch` on real sockets. `src/watch/tests.rs` tests what depends on time.

use std::time::Duration;

use http::Version;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Service, TIMEOUT, TestOptions, client};

/// An event stream, parsed as a browser parses it.
struct Stream {
    response: reqwest::Response,
    text: String,
    /// The id of the last event.
    last: String,
}

/// An event: its kind and its data.
type Event = (String, Value);

impl Stream {
    async fn open(service: &Service, query: &str, last: Option<&str>) -> Self {
        Self::with(&service.client, service, query, last).await
    }

    async fn with(client: &reqwest::Client, service: &Service, query: &str, last: Option<&str>) -> Self {
        let mut request = client.get(service.url(&format!("/watch{query}")));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(!response.headers().contains_key("content-encoding"));
        Self { response, text: String::new(), last: String::new() }
    }

    /// The next block, which is an event or a comment; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                    id.clone_into(&mut self.last);
                }
                return Some(block);
            }
            let chunk = self.response.chunk().await.expect("the stream is interrupted")?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            if let Some(event) = event_of(&block) {
                return Some(event);
            }
        }
    }

    /// The kind of the next event, and the id of its peer.
    async fn change(&mut self) -> (String, String) {
        let (kind, data) = self.event().await.expect("the stream has ended");
        (kind, data["peer_id"].as_str().unwrap_or_default().to_owned())
    }
}

async fn register(service: &Service, peer: &str, archetype: &str) {
    let body = json!({"peer_id": peer, "archetypes": [archetype]});
    service.post("/register", &body.to_string()).await.ok();
}

/// The event in a block, if there is one.
fn event_of(block: &str) -> Option<Event> {
    let kind = block.lines().find_map(|line| line.strip_prefix("event: "))?;
    let data: Vec<_> = block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    Some((kind.to_owned(), serde_json::from_str(&data.join("\n")).unwrap()))
}

fn pair(kind: &str, peer: &str) -> (String, String) {
    (kind.to_owned(), peer.to_owned())
}

async fn metric(service: &Service, name: &str) -> u64 {
    let response = service.client.get(format!("http://{}/metrics", service.metrics)).send().await.unwrap();
    let text = response.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{name} is missing"));
    value.trim_end_matches(".0").parse().unwrap()
}

/// Requests the metrics until the one with this name has the expected value.
async fn wait_for_metric(service: &Service, name: &str, expected: u64) {
    let changed = async { while metric(service, name).await != expected {} };
    timeout(TIMEOUT, changed).await.unwrap_or_else(|_| panic!("{name} does not become {expected}"));
}

#[tokio::test]
async fn a_watcher_gets_an_event_for_each_peer_that_joins_changes_or_leaves() {
    let service = Service::start().await;
    let mut stream = Stream::open(&service, "?archetype=a", None).await;
    let (kind, start) = stream.event().await.unwrap();
    assert_eq!((kind.as_str(), &start["since"]), ("start", &json!(stream.last)));
    register(&service, "p", "a").await;
    let (kind, peer) = stream.event().await.unwrap();
    assert_eq!((kind.as_str(), peer), ("joined", service.get("/discover").await.ok()["peers"][0].clone()));
    register(&service, "other", "b").await;
    let body = r#"{"peer_id":"p","archetypes":["a"],"metadata":{"line":
 1}}"#;
    service.post("/register", body).await.ok();
    let (kind, peer) = stream.event().await.unwrap();
    assert_eq!((kind.as_str(), &peer["metadata"]), ("changed", &json!({"line": 1})));
    register(&service, "p", "b").await;
    assert_eq!(stream.change().await, pair("left", "p"));
    register(&service, "q", "a").await;
    assert_eq!(stream.change().await, pair("joined", "q"));
    service.clock.advance(400);
    service.run_background_tasks().await;
    assert_eq!(stream.change().await, pair("left", "q"), "the lease has expired");
    service.post("/heartbeat", r#"{"peer_id":"q"}"#).await.ok();
    assert_eq!(stream.change().await, pair("joined", "q"), "the peer is revived");
    assert_eq!(metric(&service, "aurora_watch_events_total").await, 6);
}

#[tokio::test]
async fn the_legacy_view_of_a_watch_has_two_names() {
    let service = Service::start().await;
    for view in ["legacy", "seed"] {
        let mut stream = Stream::open(&service, &format!("?archetype={view}&view={view}"), None).await;
        assert_eq!(stream.change().await.0, "start");
        register(&service, view, view).await;
        let (kind, peer) = stream.event().await.unwrap();
        assert_eq!((kind.as_str(), peer.as_object().unwrap().len()), ("joined", 6), "{view}");
    }
    let refusal = service.get("/watch?view=half").await;
    refusal.refused(400, "invalid_parameter", Some("view"));
    assert_eq!(refusal.json()["error"], "view must be legacy, full, contact or observer");
}

/// Makes the service detect soon that a watcher has disconnected. The service detects that only
/// when a write fails, because a client that has closed its sending side may still read.
fn short_keep_alive(options: &mut TestOptions) {
    options.server.service.watch_keep_alive = Duration::from_millis(50);
}

#[tokio::test]
async fn a_watcher_that_reconnects_misses_no_event() {
    let service = Service::with(short_keep_alive).await;
    let since = service.get("/discover?archetype=a&since=now").await.ok()["since"].clone();
    let since = since.as_str().unwrap();
    register(&service, "p", "a").await;
    let query = format!("?archetype=a&since={since}");
    let mut stream = Stream::open(&service, &query, None).await;
    assert_eq!(stream.change().await.0, "start");
    assert_eq!(stream.change().await, pair("joined", "p"));
    let last = stream.last.clone();
    drop(stream);
    register(&service, "q", "a").await;
    let mut again = Stream::open(&service, &query, Some(&last)).await;
    assert_eq!(again.change().await.0, "start");
    assert_eq!(again.change().await, pair("joined", "q"), "Last-Event-ID takes precedence over since");
    drop(again);
    wait_for_metric(&service, "aurora_watch_streams", 0).await;
    let delta = service.get(&format!("/discover?archetype=a&since={last}")).await.ok();
    assert_eq!(delta["joined"][0]["peer_id"], "q", "the id of an event is a cursor");
}

#[tokio::test]
async fn a_watcher_whose_cursor_has_expired_gets_a_reset_and_continues() {
    let service = Service::with(|options| options.limits.max_changes = 4).await;
    let since = service.get("/discover?since=now").await.ok()["since"].clone();
    for n in 0..9 {
        register(&service, &format!("p{n}"), "a").await;
    }
    let mut stream = Stream::open(&service, &format!("?since={}", since.as_str().unwrap()), None).await;
    let (kind, reset) = stream.event().await.unwrap();
    assert_eq!((kind.as_str(), &reset["code"]), ("reset", &json!("cursor_expired")));
    assert_eq!(reset["since"], json!(stream.last));
    register(&service, "q", "a").await;
    assert_eq!(stream.change().await, pair("joined", "q"));
    let other = Service::start().await;
    let mut stream = Stream::open(&other, "", Some(&stream.last)).await;
    assert_eq!(stream.change().await.0, "reset", "the cursor is not valid for another run of the service");
    assert_eq!(metric(&other, "aurora_watch_resets_total").await, 1);
}

#[tokio::test]
async fn a_cursor_of_another_query_is_rejected() {
    let service = Service::start().await;
    let since = service.get("/discover?archetype=a&since=now").await.ok()["since"].clone();
    let foreign = format!("/watch?archetype=b&since={}", since.as_str().unwrap());
    service.get(&foreign).await.refused(400, "invalid_cursor", Some("since"));
    service.get("/watch?since=x").await.refused(400, "invalid_cursor", Some("since"));
    for name in ["order", "cursor", "fill"] {
        let query = format!("/watch?{name}=all");
        service.get(&query).await.refused(400, "invalid_parameter", Some(name));
    }
    service.post("/watch", "").await.refused(405, "method_not_allowed", None);
}

#[tokio::test]
async fn now_is_accepted_as_since_and_as_last_event_id_and_limit_is_ignored() {
    let service = Service::start().await;
    for (query, last) in
        [("?since=now", None), ("", Some("now")), ("?since=x", Some("now")), ("?limit=0", None)]
    {
        assert_eq!(Stream::open(&service, query, last).await.change().await.0, "start", "{query} {last:?}");
    }
}

#[tokio::test]
async fn a_watcher_is_woken_only_for_its_archetypes() {
    let service = Service::start().await;
    let mut rare = Stream::open(&service, "?archetype=rare", None).await;
    let mut common = Stream::open(&service, "?archetype=common", None).await;
    rare.event().await.unwrap();
    common.event().await.unwrap();
    wait_for_metric(&service, "aurora_store_watchers", 2).await;
    for n in 0..20 {
        register(&service, &format!("p{n}"), "common").await;
        assert_eq!(common.change().await, pair("joined", &format!("p{n}")));
    }
    let wakeups = metric(&service, "aurora_store_wakeups_total").await;
    assert!(wakeups <= 20, "{wakeups}");
    register(&service, "q", "rare").await;
    assert_eq!(rare.change().await, pair("joined", "q"));
    assert!(metric(&service, "aurora_store_wakeups_total").await <= wakeups + 1);
}

#[tokio::test]
async fn the_number_of_streams_is_limited_and_streams_hold_no_request_permit() {
    let service = Service::with(|options| {
        short_keep_alive(options);
        options.server.service.max_watchers = 2;
        options.server.service.max_in_flight = 1;
    })
    .await;
    let one = Stream::open(&service, "", None).await;
    let _other = Stream::open(&service, "", None).await;
    let refused = service.get("/watch").await;
    refused.refused(503, "unavailable", None);
    assert!(refused.header("retry-after").is_some());
    register(&service, "p", "a").await;
    drop(one);
    wait_for_metric(&service, "aurora_watch_streams", 1).await;
    Stream::open(&service, "", None).await;
}

#[tokio::test]
async fn streams_end_at_once_when_the_service_stops() {
    let mut service = Service::with(long_grace).await;
    let http2 = client(reqwest::ClientBuilder::http2_prior_knowledge);
    let mut streams =
        [Stream::open(&service, "", None).await, Stream::with(&http2, &service, "", None).await];
    assert_eq!(streams[1].response.version(), Version::HTTP_2);
    for stream in &mut streams {
        stream.event().await.unwrap();
    }
    service.stop();
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
    service.stopped().await.expect("the store could not be closed");
}

/// A grace period longer than any test would wait.
fn long_grace(options: &mut TestOptions) {
    options.server.shutdown_grace = 100 * TIMEOUT;
}

#[tokio::test]
async fn a_head_request_for_watch_opens_no_stream() {
    let service = Service::start().await;
    let response = service.request(http::Method::HEAD, "/watch", &[], "").await;
    assert_eq!((response.status.as_u16(), response.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(metric(&service, "aurora_watch_streams").await, 0);
}
