//! `GET /watch` on real sockets.

use std::time::Duration;

use aurora_discovery_protocol::{Metadata, PeerId, RegisterRequest, Timestamp};
use http::Version;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{NOON, PATIENCE, Service, Setting, client};

/// An event stream, read as a browser reads it.
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

    /// The next block; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        self.block_unless_cut_off().await.expect("the stream is not cut off")
    }

    async fn block_unless_cut_off(&mut self) -> reqwest::Result<Option<String>> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                if let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) {
                    id.clone_into(&mut self.last);
                }
                return Ok(Some(block));
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("nothing comes")?;
            let Some(chunk) = chunk else { return Ok(None) };
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
    async fn told(&mut self) -> (String, String) {
        let (kind, data) = self.event().await.expect("the stream goes on");
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

async fn figure(service: &Service, name: &str) -> u64 {
    let reply = service.client.get(format!("http://{}/metrics", service.metrics)).send().await.unwrap();
    let text = reply.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("{name} is missing"));
    value.trim_end_matches(".0").parse().unwrap()
}

/// Waits until a metric has the expected value.
async fn becomes(service: &Service, name: &str, expected: u64) {
    let started = Instant::now();
    while figure(service, name).await != expected {
        assert!(started.elapsed() < PATIENCE, "{name} never becomes {expected}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_watcher_is_told_who_joins_changes_and_leaves() {
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
    assert_eq!(stream.told().await, pair("left", "p"));
    register(&service, "q", "a").await;
    assert_eq!(stream.told().await, pair("joined", "q"));
    service.clock.pass(400);
    assert_eq!(stream.told().await, pair("left", "q"), "its lease has ended");
    service.post("/heartbeat", r#"{"peer_id":"q"}"#).await.ok();
    assert_eq!(stream.told().await, pair("joined", "q"), "it is revived");
    assert_eq!(figure(&service, "aurora_watch_events_total").await, 6);
}

#[tokio::test]
async fn a_watcher_gets_the_legacy_view_by_both_of_its_names() {
    let service = Service::start().await;
    for view in ["legacy", "seed"] {
        let mut stream = Stream::open(&service, &format!("?archetype={view}&view={view}"), None).await;
        assert_eq!(stream.told().await.0, "start");
        register(&service, view, view).await;
        let (kind, peer) = stream.event().await.unwrap();
        assert_eq!((kind.as_str(), peer.as_object().unwrap().len()), ("joined", 6), "{view}");
    }
    let refusal = service.get("/watch?view=half").await;
    refusal.refused(400, "invalid_parameter", Some("view"));
    assert_eq!(refusal.json()["error"], "view must be legacy or full");
}

#[tokio::test]
async fn a_watcher_that_comes_back_misses_nothing() {
    let service = Service::start().await;
    let since = service.get("/discover?archetype=a&since=now").await.ok()["since"].clone();
    let since = since.as_str().unwrap();
    register(&service, "p", "a").await;
    let query = format!("?archetype=a&since={since}");
    let mut stream = Stream::open(&service, &query, None).await;
    assert_eq!(stream.told().await.0, "start");
    assert_eq!(stream.told().await, pair("joined", "p"));
    let last = stream.last.clone();
    drop(stream);
    register(&service, "q", "a").await;
    let mut again = Stream::open(&service, &query, Some(&last)).await;
    assert_eq!(again.told().await.0, "start");
    assert_eq!(again.told().await, pair("joined", "q"), "what it said last counts, not what it began with");
    drop(again);
    becomes(&service, "aurora_watch_streams", 0).await;
    let delta = service.get(&format!("/discover?archetype=a&since={last}")).await.ok();
    assert_eq!(delta["joined"][0]["peer_id"], "q", "an event's id is a cursor");
}

#[tokio::test]
async fn a_watcher_that_comes_too_late_is_told_to_start_anew_and_goes_on() {
    let service = Service::with(|setting| setting.limits.max_changes = 4).await;
    let since = service.get("/discover?since=now").await.ok()["since"].clone();
    for n in 0..9 {
        register(&service, &format!("p{n}"), "a").await;
    }
    let mut stream = Stream::open(&service, &format!("?since={}", since.as_str().unwrap()), None).await;
    let (kind, reset) = stream.event().await.unwrap();
    assert_eq!((kind.as_str(), &reset["code"]), ("reset", &json!("cursor_expired")));
    assert_eq!(reset["since"], json!(stream.last));
    register(&service, "q", "a").await;
    assert_eq!(stream.told().await, pair("joined", "q"));
    let other = Service::start().await;
    let mut stream = Stream::open(&other, "", Some(&stream.last)).await;
    assert_eq!(stream.told().await.0, "reset", "another run of the service remembers nothing of it");
    assert_eq!(figure(&other, "aurora_watch_resets_total").await, 1);
}

#[tokio::test]
async fn what_is_no_cursor_of_the_query_is_refused() {
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
async fn now_is_no_cursor_wherever_it_is_said_and_a_stream_has_no_limit() {
    let service = Service::start().await;
    for (query, last) in
        [("?since=now", None), ("", Some("now")), ("?since=x", Some("now")), ("?limit=0", None)]
    {
        assert_eq!(Stream::open(&service, query, last).await.told().await.0, "start", "{query} {last:?}");
    }
}

#[tokio::test]
async fn no_watcher_is_woken_for_archetypes_it_did_not_ask_for() {
    let service = Service::start().await;
    let mut rare = Stream::open(&service, "?archetype=rare", None).await;
    let mut common = Stream::open(&service, "?archetype=common", None).await;
    rare.event().await.unwrap();
    common.event().await.unwrap();
    becomes(&service, "aurora_store_watchers", 2).await;
    for n in 0..20 {
        register(&service, &format!("p{n}"), "common").await;
        assert_eq!(common.told().await, pair("joined", &format!("p{n}")));
    }
    let wakeups = figure(&service, "aurora_store_wakeups_total").await;
    assert!(wakeups <= 20, "{wakeups}");
    register(&service, "q", "rare").await;
    assert_eq!(rare.told().await, pair("joined", "q"));
    assert!(figure(&service, "aurora_store_wakeups_total").await <= wakeups + 1);
}

#[tokio::test]
async fn streams_are_bounded_and_hold_no_place_among_the_requests() {
    let service = Service::with(|setting| {
        setting.options.service.max_watchers = 2;
        setting.options.service.max_in_flight = 1;
    })
    .await;
    let one = Stream::open(&service, "", None).await;
    let _other = Stream::open(&service, "", None).await;
    let refused = service.get("/watch").await;
    refused.refused(503, "unavailable", None);
    assert!(refused.header("retry-after").is_some());
    register(&service, "p", "a").await;
    drop(one);
    becomes(&service, "aurora_watch_streams", 1).await;
    Stream::open(&service, "", None).await;
}

#[tokio::test]
async fn a_silent_stream_says_that_it_lives_and_moves_its_cursor_on() {
    let mut service = Service::with(|setting| {
        setting.options.service.watch_keep_alive = Duration::from_millis(30);
        setting.options.write_timeout = Duration::from_secs(5);
        setting.options.idle_timeout = Duration::from_millis(50);
        setting.limits.max_changes = 2;
    })
    .await;
    // A kept connection could be closed as idle at the moment when it is used again.
    service.client = client(|builder| builder.pool_max_idle_per_host(0));
    let mut stream = Stream::open(&service, "?archetype=rare", None).await;
    stream.event().await.unwrap();
    let start = stream.last.clone();
    for n in 0..9 {
        register(&service, &format!("p{n}"), "a").await;
    }
    let mut blocks = 0;
    while stream.last == start || blocks < 5 {
        assert!(stream.block().await.unwrap().starts_with(": keep-alive\nid: "));
        blocks += 1;
    }
    let last = stream.last.clone();
    let mut again = Stream::open(&service, "?archetype=rare", Some(&last)).await;
    assert_eq!(again.told().await.0, "start", "what others did has not made it expire");
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
    service.tell_to_stop();
    for stream in &mut streams {
        assert_eq!(stream.event().await, None);
    }
    service.stopped().await.expect("the grace is not used up");
}

#[tokio::test]
async fn a_stream_whose_client_gives_it_no_room_does_not_hold_the_service_when_it_stops() {
    let mut service = Service::with(long_grace).await;
    let stalled = without_room(&service, 1).await;
    becomes(&service, "aurora_watch_streams", 1).await;
    service.tell_to_stop();
    service.stopped().await.expect("the grace is not used up");
    drop(stalled);
}

/// A grace period longer than any test would wait.
fn long_grace(setting: &mut Setting) {
    setting.options.shutdown_grace = 100 * PATIENCE;
}

/// An HTTP/2 connection that requests streams and allows no data to be sent to it: its flow-control
/// windows are closed from the start.
async fn without_room(service: &Service, streams: u8) -> TcpStream {
    let mut connection = TcpStream::connect(service.address).await.unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS with INITIAL_WINDOW_SIZE 0.
    bytes.extend([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
    for n in 0..streams {
        // HEADERS with END_STREAM: GET, http, and /watch with the name of :path, none of it
        // indexed.
        let mut block = vec![0x82, 0x86, 0x04, 6];
        block.extend(b"/watch");
        block.extend([0x01, 1]);
        block.extend(b"x");
        bytes.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 2 * n + 1]);
        bytes.extend(block);
    }
    connection.write_all(&bytes).await.unwrap();
    connection
}

/// Peers of four kilobytes each: twice the amount that the system's buffers grow to.
const MORE_THAN_SOCKETS_HOLD: usize = 2_000;
/// What the client reads in the end. Reading the rest would take long through such a small window.
const READ_AT_LAST: u64 = 64 * 1024;

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_off_and_comes_back_without_a_gap() {
    let service = Service::with(|setting| {
        setting.options.write_timeout = Duration::from_millis(300);
    })
    .await;
    let since = service.get("/discover?since=now").await.ok()["since"].clone();
    let since = since.as_str().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stalled = socket.connect(service.address).await.unwrap();
    let head = format!("GET /watch?since={since} HTTP/1.1\r\nhost: x\r\n\r\n");
    stalled.write_all(head.as_bytes()).await.unwrap();
    becomes(&service, "aurora_watch_streams", 1).await;
    let metadata = Metadata::parse(&format!(r#"{{"text":"{}"}}"#, "x".repeat(4_000))).unwrap();
    let source = service.address.ip();
    let mut registered = 0;
    while registered < MORE_THAN_SOCKETS_HOLD && figure(&service, "aurora_watch_cut_off_total").await == 0 {
        for _ in 0..50 {
            // There are two thousand peers, and most of the test's time would go to their requests.
            let request = RegisterRequest {
                metadata: metadata.clone(),
                ..RegisterRequest::new(PeerId::parse(&format!("p{registered}")).unwrap())
            };
            service.registry.register(request, source, Timestamp::from_secs(NOON)).await.unwrap();
            registered += 1;
        }
    }
    becomes(&service, "aurora_watch_cut_off_total", 1).await;
    let mut came = Vec::new();
    let _ = timeout(PATIENCE, stalled.take(READ_AT_LAST).read_to_end(&mut came)).await.unwrap();
    let came = String::from_utf8_lossy(&came);
    let whole = came.rfind("\n\n").map_or("", |end| &came[..end]);
    let last = whole.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap_or(since);
    let mut known: std::collections::BTreeSet<String> = (0..registered)
        .map(|n| format!("p{n}"))
        .filter(|peer| whole.contains(&format!("\"peer_id\":\"{peer}\"")))
        .collect();
    let before = known.len();
    assert!(before < registered, "it did not get all");
    let mut last = last.to_owned();
    // As a browser does. If this machine pauses, the client is cut off once more.
    while known.len() < registered {
        let mut again = Stream::open(&service, &format!("?since={since}"), Some(&last)).await;
        while known.len() < registered
            && let Ok(Some(block)) = again.block_unless_cut_off().await
        {
            match event_of(&block) {
                Some((kind, peer)) if kind == "joined" => {
                    assert!(known.insert(peer["peer_id"].as_str().unwrap().to_owned()), "none comes twice");
                }
                Some((kind, _)) => assert_eq!(kind, "start", "there is no gap"),
                None => {}
            }
        }
        last = again.last;
    }
}

#[tokio::test]
async fn head_says_what_get_would_and_holds_no_stream() {
    let service = Service::start().await;
    let reply = service.call(http::Method::HEAD, "/watch", &[], "").await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(figure(&service, "aurora_watch_streams").await, 0);
}
