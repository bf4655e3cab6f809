//! Connections in memory, on tokio's paused clock: each wait ends exactly at its timeout.

use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_registry::{Limits, Registry};
use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::*;
use crate::request_context::RequestBody;
use crate::service::Service;
use crate::{Rate, RateLimits, ServiceOptions};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
/// What an HTTP/2 client sends first, before its settings.
pub(crate) const CLIENT_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The methods `GET` and `POST` in HTTP/2's table of static headers.
pub(crate) const GET: u8 = 0x82;
const POST: u8 = 0x83;
/// Types of frames on HTTP/2.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
/// More than the buffers of a connection hold.
const LARGE: usize = 1 << 20;

/// The client's end of a connection, and the time at which it was opened.
pub(crate) struct Client {
    pub(crate) stream: DuplexStream,
    pub(crate) opened: Instant,
    /// The stage of the server.
    pub(crate) stage: watch::Sender<Stage>,
}

pub(crate) fn options() -> ServerOptions {
    ServerOptions {
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(75),
        write_timeout: Duration::from_secs(30),
        ..ServerOptions::default()
    }
}

fn connect(tls: Option<Arc<Tls>>) -> Client {
    connect_within(None, LOOPBACK, tls)
}

/// A connection from `address` to a service with these rates.
fn connect_within(rate_limits: Option<RateLimits>, address: [u8; 4], tls: Option<Arc<Tls>>) -> Client {
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/short", get(|| async { "x".repeat(2_000) }))
        .route("/large", get(|| async { "x".repeat(LARGE) }))
        .route("/body", post(|RequestBody(body): RequestBody| async move { body }));
    let limits = Limits::default();
    let registry = Registry::new(EmbeddedStore::in_memory(limits.clone()), limits).unwrap();
    let service = Service::new(Arc::new(registry), ServiceOptions { rate_limits, ..Default::default() });
    let discovery = DiscoveryService::around(router, Arc::new(service));
    Client::connect_from(address, discovery, tls, &options())
}

impl Client {
    /// Opens a connection to a server of this service.
    pub(crate) fn connect(
        discovery: DiscoveryService,
        tls: Option<Arc<Tls>>,
        options: &ServerOptions,
    ) -> Self {
        Self::connect_from(LOOPBACK, discovery, tls, options)
    }

    fn connect_from(
        address: [u8; 4],
        discovery: DiscoveryService,
        tls: Option<Arc<Tls>>,
        options: &ServerOptions,
    ) -> Self {
        let server = Arc::new(ConnectionServer::new(discovery, tls, options));
        let (stream, service) = duplex(1_024);
        let (stage, stages) = watch::channel(Stage::Serving);
        let state = server.new_state();
        tokio::spawn(server.serve(service, IpAddr::from(address), state, stages));
        Self { stream, opened: Instant::now(), stage }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `text` has arrived.
    async fn expect(&mut self, text: &str) {
        let mut received = Vec::new();
        while !String::from_utf8_lossy(&received).ends_with(text) {
            assert!(
                self.stream.read_buf(&mut received).await.unwrap() > 0,
                "the connection ended after {received:?}"
            );
        }
    }

    /// Sends a byte every 0.99 s. Returns the second in which the connection was closed.
    async fn drip(&mut self, byte: &str) -> u64 {
        while self.stream.write_all(byte.as_bytes()).await.is_ok() {
            sleep(Duration::from_millis(990)).await;
        }
        self.opened.elapsed().as_secs()
    }

    /// Reads until the connection ends. Returns the number of bytes, and the second of the end.
    pub(crate) async fn end(&mut self) -> (usize, u64) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.unwrap();
        (rest.len(), self.opened.elapsed().as_secs())
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_head_is_closed() {
    assert_eq!(connect(None).end().await, (0, 10));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_always_served_wait_beyond_the_rate() {
    let rate = Rate { per_second: 1, burst: 3 };
    let limits = RateLimits { requests: rate, ..RateLimits::default() };
    for (address, tenths) in [([203, 0, 113, 7], 2), (LOOPBACK, 0)] {
        let mut client = connect_within(Some(limits), address, None);
        for _ in 0..5 {
            client.send(REQUEST).await;
            client.expect("here").await;
        }
        assert_eq!(client.opened.elapsed().as_millis() / 100, tenths, "{address:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_its_head_byte_by_byte_is_closed() {
    let mut client = connect(None);
    client.send("GET / HTTP/1.1\r\nhost: x\r\nx: ").await;
    assert_eq!(client.drip("x").await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_its_body_byte_by_byte_is_closed() {
    let mut client = connect(None);
    client.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await;
    assert_eq!(client.drip(" ").await, 20);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let mut client = connect(None);
    client.send(REQUEST).await;
    client.expect("here").await;
    assert_eq!(client.end().await, (0, 75));
}

#[tokio::test(start_paused = true)]
async fn each_head_on_a_connection_has_the_same_timeout() {
    let mut client = connect(None);
    client.send(REQUEST).await;
    client.expect("here").await;
    sleep(Duration::from_secs(30)).await;
    client.send(REQUEST).await;
    client.expect("here").await;
    client.send("GET /he").await;
    assert_eq!(client.end().await, (0, 40), "idle time does not count towards the head");
}

#[tokio::test(start_paused = true)]
async fn the_connection_of_a_client_that_does_not_read_is_closed() {
    let mut client = connect(None);
    client.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    sleep(Duration::from_secs(29)).await;
    let mut read = [0; 512];
    assert!(client.stream.read(&mut read).await.unwrap() > 0);
    sleep(Duration::from_secs(2)).await;
    let (rest, _) = client.end().await;
    assert!(rest < LARGE, "reading a little does not extend the timeout");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_tls_handshake_is_closed() {
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
    assert_eq!(connect(Some(Arc::new(Tls::with_config(config)))).end().await, (0, 10));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_at_once_when_the_service_stops() {
    let mut client = connect(None);
    client.send(REQUEST).await;
    client.expect("here").await;
    client.stage.send(Stage::Stopping).unwrap();
    assert_eq!(client.end().await, (0, 0));
}

/// An HTTP/2 frame that opens `stream` with a request for `path`. `method` is the byte that stands
/// for the method in HPACK. The frame uses neither Huffman coding nor HPACK's dynamic table.
pub(crate) fn headers_frame(method: u8, path: &str, stream: u8, end_stream: bool) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend(path.as_bytes());
    block.extend([0x01, 1, b'x']);
    let mut frame =
        vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 4 + u8::from(end_stream), 0, 0, 0, stream];
    frame.extend(block);
    frame
}

/// The second in which the response to `stream` starts.
pub(crate) async fn http2_response(client: &mut Client, stream: u8) -> u64 {
    http2_frame(client, HEADERS, stream).await
}

/// The second in which a frame of this type arrives on `stream`.
async fn http2_frame(client: &mut Client, kind: u8, stream: u8) -> u64 {
    loop {
        let mut head = [0; 9];
        client.stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; usize::from(head[2]) + 256 * usize::from(head[1])];
        client.stream.read_exact(&mut payload).await.unwrap();
        if (head[3], head[8]) == (kind, stream) {
            return client.opened.elapsed().as_secs();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_arrives_ends_only_its_own_request() {
    let mut client = connect(None);
    client.stream.write_all(&[CLIENT_PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat()).await.unwrap();
    client.stream.write_all(&headers_frame(POST, "/body", 1, false)).await.unwrap();
    assert_eq!(http2_response(&mut client, 1).await, 20);
    client.stream.write_all(&headers_frame(GET, "/", 3, true)).await.unwrap();
    assert_eq!(http2_response(&mut client, 3).await, 20);
}

/// Opens an HTTP/2 connection whose streams have a window of `window` bytes.
async fn http2(window: u32) -> Client {
    let mut client = connect(None);
    let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4][..], &window.to_be_bytes()].concat();
    client.stream.write_all(&[CLIENT_PREFACE, &settings].concat()).await.unwrap();
    client
}

/// An HTTP/2 connection on which a request was answered. Its client never acknowledges a PING.
async fn silent_http2_client() -> Client {
    let mut client = connect(None);
    client.stream.write_all(&[CLIENT_PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat()).await.unwrap();
    client.stream.write_all(&headers_frame(GET, "/", 1, true)).await.unwrap();
    http2_response(&mut client, 1).await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_steadily_is_served() {
    let mut client = connect(None);
    client.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // 256 kbit/s, for longer than the write timeout.
    let (mut read, mut piece) = (0, vec![0; 16 * 1024]);
    while read < LARGE {
        client.stream.read_exact(&mut piece).await.unwrap();
        read += piece.len();
        sleep(Duration::from_millis(500)).await;
    }
    assert!(client.opened.elapsed() > Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn an_unread_response_is_reset_and_the_others_of_its_connection_are_not() {
    for window in [0, 40_000] {
        let mut client = http2(window).await;
        client.stream.write_all(&headers_frame(GET, "/large", 1, true)).await.unwrap();
        assert_eq!(http2_frame(&mut client, HEADERS, 1).await, 0);
        assert_eq!(http2_frame(&mut client, RST_STREAM, 1).await, 30, "{window}");
        client.stream.write_all(&headers_frame(GET, "/", 3, true)).await.unwrap();
        assert_eq!(http2_response(&mut client, 3).await, 30);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_piece_of_a_response_that_is_not_read_ends_the_connection() {
    let mut client = http2(10).await;
    client.stream.write_all(&headers_frame(GET, "/short", 1, true)).await.unwrap();
    assert_eq!(http2_response(&mut client, 1).await, 0);
    assert_eq!(client.end().await.1, 30);
}

#[tokio::test(start_paused = true)]
async fn headers_that_decompress_to_far_more_than_the_limit_end_the_connection() {
    let mut client = http2(0).await;
    // A header of 1,000 bytes, which becomes the first entry of the compression table (HPACK), and
    // 1,000 references to that entry.
    let literal = [&[0x40, 1, b'a', 0x7f, 0xe9, 0x06][..], &[b'b'; 1_000]].concat();
    let block = [&[GET, 0x86, 0x84][..], &literal, &[0xbe; 1_000]].concat();
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    let head = [0, length[0], length[1], 1, 5, 0, 0, 0, 1];
    client.stream.write_all(&[&head[..], &block].concat()).await.unwrap();
    assert_eq!(client.end().await.1, 0);
}

/// A frame that opens `stream` with this header block.
fn block_frame(stream: u16, block: &[u8]) -> Vec<u8> {
    let [length, stream] = [u16::try_from(block.len()).unwrap(), stream].map(u16::to_be_bytes);
    [&[0, length[0], length[1], 1, 5, 0, 0, stream[0], stream[1]][..], block].concat()
}

/// Reads until the headers of the response to `stream` arrive. Returns `false` if the connection
/// ends before that.
async fn is_answered(client: &mut Client, stream: u16) -> bool {
    loop {
        let mut head = [0; 9];
        if client.stream.read_exact(&mut head).await.is_err() {
            return false;
        }
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        client.stream.read_exact(&mut vec![0; length]).await.unwrap();
        if head[3] == 1 && head[7..] == stream.to_be_bytes() {
            return true;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_after_128_requests_that_the_library_refuses() {
    let mut client = http2(65_535).await;
    // A header of 1,000 bytes, which becomes the first entry of the compression table (HPACK). With
    // forty references to it, a head exceeds the library's limit, but not so far that the library
    // ends the connection.
    let literal = [&[0x40, 1, b'a', 0x7f, 0xe9, 0x06][..], &[b'b'; 1_000]].concat();
    let first = [&[GET, 0x86, 0x84, 0x01, 1, b'x'][..], &literal].concat();
    client.stream.write_all(&block_frame(1, &first)).await.unwrap();
    assert!(is_answered(&mut client, 1).await);
    let oversized = [&[GET, 0x86, 0x84, 0x01, 1, b'x'][..], &[0xbe; 40]].concat();
    for n in 1..=127 {
        client.stream.write_all(&block_frame(2 * n + 1, &oversized)).await.unwrap();
        assert!(is_answered(&mut client, 2 * n + 1).await, "{n}");
    }
    // A request that is served is not counted.
    for (stream, block) in [(257, &first[..6]), (259, &oversized), (261, &oversized)] {
        client.stream.write_all(&block_frame(stream, block)).await.unwrap();
        assert_eq!(is_answered(&mut client, stream).await, stream < 261);
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_2_client_that_acknowledges_no_ping_does_not_delay_a_shutdown() {
    let mut client = silent_http2_client().await;
    client.stage.send(Stage::Stopping).unwrap();
    assert_eq!(client.end().await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_sends_goaway_and_leaves_the_connection_open() {
    const GOAWAY: u8 = 7;
    let mut client = silent_http2_client().await;
    client.stage.send(Stage::Draining).unwrap();
    loop {
        let mut head = [0; 9];
        client.stream.read_exact(&mut head).await.unwrap();
        client.stream.read_exact(&mut vec![0; usize::from(head[2])]).await.unwrap();
        if head[3] == GOAWAY {
            break;
        }
    }
    client.stream.write_all(&headers_frame(GET, "/", 3, true)).await.unwrap();
    assert_eq!(http2_response(&mut client, 3).await, 0, "a request that was on its way is answered");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_open_during_a_drain() {
    let mut client = connect(None);
    client.send(REQUEST).await;
    client.expect("here").await;
    client.stage.send(Stage::Draining).unwrap();
    assert_eq!(client.end().await, (0, 75), "only its own timeout closes it");
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_has_a_second_for_its_first_request_when_the_service_stops() {
    let mut client = connect(None);
    client.stage.send(Stage::Stopping).unwrap();
    sleep(Duration::from_millis(900)).await;
    client.send(REQUEST).await;
    client.expect("here").await;

    let mut silent = connect(None);
    silent.stage.send(Stage::Stopping).unwrap();
    assert_eq!(silent.end().await, (0, 1));
}
