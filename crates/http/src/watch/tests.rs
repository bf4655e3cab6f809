//! Streams on connections in memory, on tokio's paused clock.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, Registry};
use axum::body::Body;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use crate::connection::tests::{CLIENT_PREFACE, Client, GET, headers_frame, http2_response, options};
use crate::exchange::DiscoveryService;
use crate::options::ServiceOptions;
use crate::service::Service;
use crate::{Clock, Origin};

/// A service whose change log holds this many changes.
fn service(max_changes: usize) -> Arc<Service> {
    let limits = Limits { max_changes, ..Limits::default() };
    let registry = Registry::new(EmbeddedStore::in_memory(limits.clone()), limits).unwrap();
    let clock = Clock::new(|| Timestamp::from_secs(1_759_406_400));
    let options = ServiceOptions { clock, ..ServiceOptions::default() };
    Arc::new(Service::new(Arc::new(registry), options))
}

async fn register(service: &Arc<Service>, peer: &str, archetype: &str) {
    let body = format!(r#"{{"peer_id":"{peer}","archetypes":["{archetype}"]}}"#);
    let request = Request::post("/register").body(Body::from(body)).unwrap();
    let response = DiscoveryService::of(service.clone()).respond(request, Origin::default()).await;
    assert_eq!(response.status(), 200);
}

fn connect(service: &Arc<Service>) -> Client {
    Client::connect(DiscoveryService::of(service.clone()), None, &options())
}

/// A stream of events, as its client sees it.
struct Stream {
    client: Client,
    received: Vec<u8>,
    /// The id of the last event or comment.
    last_id: String,
}

impl Stream {
    async fn open(service: &Arc<Service>, query: &str, last_id: Option<&str>) -> Self {
        let mut client = connect(service);
        let last_id = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        // The body of an HTTP/1.0 response has no chunks, which would have to be decoded.
        client.send(&format!("GET /watch{query} HTTP/1.0\r\nhost: x\r\n{last_id}\r\n")).await;
        Self { client, received: Vec::new(), last_id: String::new() }
    }

    /// The next event or comment, the first of them preceded by the head of the response; `None` at
    /// the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.received.drain(..end + 2).collect();
                let block = String::from_utf8(block).unwrap();
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                self.last_id = id.expect("an event or comment has an id").to_owned();
                return Some(block);
            }
            if self.client.stream.read_buf(&mut self.received).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Reads events until `count` peers have joined or the stream ends, and returns the peers.
    async fn joined(&mut self, count: usize) -> Vec<String> {
        let mut peers = Vec::new();
        while peers.len() < count
            && let Some(block) = self.block().await
        {
            assert!(!block.contains("event: reset"), "events are missing before {block}");
            let peer = block.split_once("\"peer_id\":\"").and_then(|(_, rest)| rest.split_once('"'));
            peers.extend(peer.map(|(peer, _)| peer.to_owned()));
        }
        peers
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_changes_sends_comments_that_advance_its_cursor() {
    let service = service(2);
    let mut stream = Stream::open(&service, "?archetype=rare", None).await;
    assert!(stream.block().await.unwrap().contains("event: start"));
    let first_id = stream.last_id.clone();
    for n in 0..9 {
        register(&service, &format!("p{n}"), "common").await;
    }
    // The stream stays open for longer than a connection may be idle.
    for n in 1..=8 {
        assert!(stream.block().await.unwrap().starts_with(": keep-alive\nid: "));
        assert_eq!(stream.client.opened.elapsed().as_secs(), 15 * n);
    }
    assert_ne!(stream.last_id, first_id);
    let mut again = Stream::open(&service, "?archetype=rare", Some(&stream.last_id)).await;
    assert!(again.block().await.unwrap().contains("event: start"), "the cursor has expired");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_is_closed_and_can_be_continued_without_a_gap() {
    const PEERS: usize = 100;
    let service = service(10_000);
    let mut stream = Stream::open(&service, "", None).await;
    assert!(stream.block().await.unwrap().contains("event: start"));
    for n in 0..PEERS {
        register(&service, &format!("p{n}"), "a").await;
    }
    sleep(options().write_timeout + Duration::from_secs(1)).await;
    assert_eq!(service.metrics.watch_cut_off.get(), 1);
    let mut joined = stream.joined(PEERS).await;
    assert!(joined.len() < PEERS, "the stream was not closed");
    let mut again = Stream::open(&service, "", Some(&stream.last_id)).await;
    joined.extend(again.joined(PEERS - joined.len()).await);
    assert_eq!(joined, (0..PEERS).map(|n| format!("p{n}")).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_flow_control_window_does_not_delay_a_shutdown() {
    // SETTINGS with INITIAL_WINDOW_SIZE 0: no data may be sent to the client.
    const NO_WINDOW: [u8; 15] = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let service = service(10_000);
    let mut client = connect(&service);
    client.stream.write_all(CLIENT_PREFACE).await.unwrap();
    client.stream.write_all(&NO_WINDOW).await.unwrap();
    client.stream.write_all(&headers_frame(GET, "/watch", 1, true)).await.unwrap();
    http2_response(&mut client, 1).await;
    assert_eq!(service.metrics.watch_streams.get(), 1);
    service.watchers.end();
    client.stage.send(crate::shutdown::Stage::Stopping).unwrap();
    assert_eq!(client.end().await.1, 1, "the connection is closed after a second");
    assert_eq!(service.metrics.watch_streams.get(), 0);
}
