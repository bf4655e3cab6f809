//! Streams on connections in memory, on tokio's paused clock.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Limits, Registry};
use axum::body::Body;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::connection::tests::{CLIENT_PREFACE, Client, GET, headers_frame, http2_response, options};
use crate::exchange::DiscoveryService;
use crate::options::ServiceOptions;
use crate::service::Service;
use crate::{Clock, Origin};

/// A service whose change log holds this many changes.
fn service(max_changes: usize) -> Arc<Service> {
    service_within(max_changes, ServiceOptions::default().watch_bytes_per_second)
}

/// Like [`service`], but all streams together may send this many bytes per second.
fn service_within(max_changes: usize, watch_bytes_per_second: u32) -> Arc<Service> {
    let limits = Limits { max_changes, ..Limits::default() };
    let registry = Registry::new(EmbeddedStore::in_memory(limits.clone()), limits).unwrap();
    let clock = Clock::new(|| Timestamp::from_secs(1_759_406_400));
    let options = ServiceOptions { clock, watch_bytes_per_second, ..ServiceOptions::default() };
    Arc::new(Service::new(Arc::new(registry), options))
}

async fn register(service: &Arc<Service>, peer: &str, archetype: &str) {
    register_with(service, peer, archetype, "{}").await;
}

async fn register_with(service: &Arc<Service>, peer: &str, archetype: &str, metadata: &str) {
    let body = format!(r#"{{"peer_id":"{peer}","archetypes":["{archetype}"],"metadata":{metadata}}}"#);
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
    /// The time after which the client is to reconnect.
    retry_millis: u64,
}

impl Stream {
    async fn open(service: &Arc<Service>, query: &str, last_id: Option<&str>) -> Self {
        let mut client = connect(service);
        let last_id = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        // The body of an HTTP/1.0 response has no chunks, which would have to be decoded.
        client.send(&format!("GET /watch{query} HTTP/1.0\r\nhost: x\r\n{last_id}\r\n")).await;
        Self { client, received: Vec::new(), last_id: String::new(), retry_millis: 0 }
    }

    /// The next event or comment. The first one is preceded by the head of the response. `None` at
    /// the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.received.drain(..end + 2).collect();
                let block = String::from_utf8(block).unwrap();
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                let retry = block.lines().find_map(|line| line.strip_prefix("retry: "));
                self.retry_millis = retry.map_or(self.retry_millis, |millis| millis.parse().unwrap());
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

/// Metadata of about four kilobytes.
fn large() -> String {
    format!(r#"{{"x":"{}"}}"#, "x".repeat(4_000))
}

#[tokio::test(start_paused = true)]
async fn all_streams_together_send_at_most_their_budget_and_lose_nothing() {
    const PEERS: usize = 100;
    const STREAMS: usize = 4;
    const BYTES_PER_SECOND: u32 = 64 << 10;
    let service = service_within(10_000, BYTES_PER_SECOND);
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = Stream::open(&service, "", None).await;
        assert!(stream.block().await.unwrap().contains("event: start"));
        streams.push(stream);
    }
    for n in 0..PEERS {
        register_with(&service, &format!("p{n}"), "a", &large()).await;
    }
    let started = Instant::now();
    let followed = streams.into_iter().map(|mut stream| {
        let service = service.clone();
        tokio::spawn(async move {
            let (mut joined, mut returns) = (stream.joined(PEERS).await, 0);
            while joined.len() < PEERS {
                assert!(stream.retry_millis >= 10_000, "{}", stream.retry_millis);
                sleep(Duration::from_millis(stream.retry_millis)).await;
                let last_id = stream.last_id.clone();
                stream = Stream::open(&service, "", Some(&last_id)).await;
                joined.extend(stream.joined(PEERS - joined.len()).await);
                returns += 1;
            }
            assert_eq!(joined, (0..PEERS).map(|n| format!("p{n}")).collect::<Vec<_>>());
            returns
        })
    });
    let mut returns = 0;
    for followed in followed.collect::<Vec<_>>() {
        returns += followed.await.unwrap();
    }
    let sent = (STREAMS * PEERS * large().len()) as f64;
    // The burst allows one second's bytes at once.
    let fastest = sent / f64::from(BYTES_PER_SECOND) - 1.0;
    assert!(started.elapsed().as_secs_f64() >= fastest, "{:?} < {fastest}", started.elapsed());
    assert!(returns > 0 && service.metrics.watch_sent_away.get() == returns, "{returns}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_reconnect_for_each_frame_get_no_more_than_the_budget() {
    const BYTES_PER_SECOND: u32 = 64 << 10;
    let service = service_within(10_000, BYTES_PER_SECOND);
    let mut stream = Stream::open(&service, "", None).await;
    assert!(stream.block().await.unwrap().contains("event: start"));
    let start = stream.last_id.clone();
    for n in 0..100 {
        register_with(&service, &format!("p{n}"), "a", &large()).await;
    }
    let (started, mut bytes) = (Instant::now(), 0);
    for _ in 0..100 {
        // The first frame has several changes; the client leaves before the next is read.
        let mut stream = Stream::open(&service, "", Some(&start)).await;
        bytes += stream.joined(3).await.len() * large().len();
    }
    // The burst allows one second's bytes at once.
    let fastest = bytes as f64 / f64::from(BYTES_PER_SECOND) - 1.0;
    assert!(started.elapsed().as_secs_f64() >= fastest, "{:?} < {fastest}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_keeps_up_stays_open_while_others_are_behind() {
    let service = service_within(10_000, 64 << 10);
    let mut rare = Stream::open(&service, "?archetype=rare", None).await;
    assert!(rare.block().await.unwrap().contains("event: start"));
    let behind: Vec<_> = [(); 8].map(|()| Stream::open(&service, "", None)).into();
    let mut behind = futures_util::future::join_all(behind).await;
    for stream in &mut behind {
        assert!(stream.block().await.unwrap().contains("event: start"));
    }
    for n in 0..200 {
        register_with(&service, &format!("p{n}"), "a", &large()).await;
    }
    let drained = tokio::spawn(async move {
        futures_util::future::join_all(behind.iter_mut().map(|stream| stream.joined(200))).await
    });
    for n in 0..20 {
        register(&service, &format!("rare-{n}"), "rare").await;
        assert_eq!(rare.joined(1).await, [format!("rare-{n}")]);
        sleep(Duration::from_secs(2)).await;
    }
    assert!(
        drained.is_finished() && service.metrics.watch_sent_away.get() == 8,
        "the others were not sent away"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_no_stream_is_sent_away() {
    let service = service_within(10_000, 0);
    let mut stream = Stream::open(&service, "", None).await;
    assert!(stream.block().await.unwrap().contains("event: start"));
    for n in 0..100 {
        register_with(&service, &format!("p{n}"), "a", &large()).await;
    }
    let started = Instant::now();
    assert_eq!(stream.joined(100).await.len(), 100);
    assert!(started.elapsed() < Duration::from_secs(1));
}
