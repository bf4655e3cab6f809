//! Clients that compete for the connections and the memory of the service: which connection the
//! service closes for a new one, and what it does if a client does not read a response.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::support::raw::RawConnection;
use crate::support::{Service, TIMEOUT};

const HEALTH: &str = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
const HEALTHY: &str = r#"{"status":"healthy"}"#;

/// A connection to the service from another address of this machine.
async fn connect_from(address: [u8; 4], service: &Service) -> RawConnection {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    RawConnection(socket.connect(service.address).await.unwrap())
}

/// Only on Linux can a test send from any address in 127.0.0.0/8.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_newcomer_displaces_an_idle_connection_of_the_largest_source() {
    let service = Service::with(|options| options.server.max_connections = 3).await;
    let mut neighbour = connect_from([127, 0, 0, 3], &service).await;
    let mut largest =
        [RawConnection::open(service.address).await, RawConnection::open(service.address).await];
    for connection in largest.iter_mut().chain([&mut neighbour]) {
        connection.send(HEALTH).await;
        connection.expect(HEALTHY).await;
    }
    let mut newcomer = connect_from([127, 0, 0, 2], &service).await;
    for connection in [&mut newcomer, &mut neighbour] {
        connection.send(HEALTH).await;
        connection.expect(HEALTHY).await;
    }
    let mut left = 0;
    for connection in &mut largest {
        // Writing to the connection that the service has closed may fail.
        let _ = connection.0.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        left += usize::from(connection.until_closed().await.ends_with(HEALTHY));
    }
    assert_eq!(left, 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_with_a_request_in_progress_is_not_displaced() {
    let service = Service::with(|options| options.server.max_connections = 2).await;
    let [mut watching, mut idle] =
        [RawConnection::open(service.address).await, RawConnection::open(service.address).await];
    watching.send("GET /watch HTTP/1.1\r\nhost: x\r\n\r\n").await;
    watching.expect("\n\n\r\n").await;
    idle.send(HEALTH).await;
    idle.expect(HEALTHY).await;
    let mut newcomer = connect_from([127, 0, 0, 2], &service).await;
    newcomer.send(HEALTH).await;
    newcomer.expect(HEALTHY).await;
    assert_eq!(idle.until_closed().await, "");
    // The stream must still be open, so its client must get an event for the new peer.
    newcomer
        .send("POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\n{\"peer_id\":\"p\"}")
        .await;
    watching.expect("\n\n\r\n").await;
}

/// Frame types of HTTP/2 (RFC 9113, section 6).
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;

/// An HTTP/2 client that lets the service send only `window` bytes on each stream, because it never
/// enlarges the flow-control window.
struct Http2(TcpStream);

impl Http2 {
    async fn open(service: &Service, window: u32) -> Self {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        // Setting 4 is SETTINGS_INITIAL_WINDOW_SIZE.
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        stream.write_all(&frame(SETTINGS, 0, 0, &settings)).await.unwrap();
        Self(stream)
    }

    async fn get(&mut self, stream: u8, path: &str) {
        let length = u8::try_from(path.len()).unwrap();
        // HPACK (RFC 7541): `:method: GET` and `:scheme: http` from the static table, `:path` with
        // its value, and `:authority: x`.
        let block = [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 1, b'x']].concat();
        // The flags END_HEADERS (4) and END_STREAM (1).
        self.0.write_all(&frame(HEADERS, 5, stream, &block)).await.unwrap();
    }

    /// The type and the stream of the next frame.
    async fn next(&mut self) -> (u8, u8) {
        let mut head = [0; 9];
        timeout(TIMEOUT, self.0.read_exact(&mut head)).await.expect("no frame arrives").unwrap();
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        self.0.read_exact(&mut vec![0; length]).await.unwrap();
        (head[3], head[8])
    }

    /// Reads until a frame of type `kind` arrives on `stream`. Fails if the service resets a stream
    /// before that.
    async fn expect(&mut self, kind: u8, stream: u8) {
        loop {
            match self.next().await {
                found if found == (kind, stream) => return,
                (RST_STREAM, other) => panic!("stream {other} was reset"),
                _ => {}
            }
        }
    }
}

/// A service that resets a response after its client has read nothing for a second.
async fn impatient() -> Service {
    Service::with(|options| {
        options.server.write_timeout = Duration::from_secs(1);
        options.server.service.watch_keep_alive = Duration::from_millis(100);
    })
    .await
}

#[tokio::test]
async fn a_response_that_is_not_read_is_reset_and_its_connection_stays_open() {
    let service = impatient().await;
    for window in [0, 10_000] {
        let mut client = Http2::open(&service, window).await;
        client.get(1, "/openapi.json").await;
        client.expect(RST_STREAM, 1).await;
        client.get(3, "/health").await;
        client.expect(HEADERS, 3).await;
    }
}

#[tokio::test]
async fn an_event_stream_that_is_not_read_is_reset_and_its_connection_stays_open() {
    let service = impatient().await;
    let mut client = Http2::open(&service, 0).await;
    client.get(1, "/watch").await;
    client.expect(RST_STREAM, 1).await;
    client.get(3, "/health").await;
    client.expect(HEADERS, 3).await;
    let metrics = reqwest::get(format!("http://{}/metrics", service.metrics)).await.unwrap();
    assert!(metrics.text().await.unwrap().contains("aurora_watch_cut_off_total 1\n"));
}

/// A frame with a payload of at most 255 bytes.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
}
