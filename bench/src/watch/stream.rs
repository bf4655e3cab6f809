//! One event stream, which is read or left unread.
//!
//! This module reads the socket directly, without an HTTP library, for two reasons. A stream that
//! is left unread needs a small receive buffer, but a library would read ahead. The other streams,
//! 900 of them by default, must be read with little processor time, because the service under test
//! runs on the same cores.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::churn::{Change, Topic};

/// The receive buffer of a client that doesn't read. All other waiting data is buffered on the
/// service's side of the connection.
const SMALL_BUFFER: u32 = 4_096;

/// An event that arrived.
pub(crate) struct Received {
    /// The key, as in the change that caused the event.
    pub(crate) key: String,
    pub(crate) at: Instant,
}

/// The outcome for a watcher that did not read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// It reconnected and received everything it had missed, once.
    Complete,
    /// It got a `reset` event, and must list all peers again.
    Reset,
    /// It missed changes without getting a `reset` event.
    Gap,
    /// It was never disconnected.
    StillOpen,
}

/// A stream of events.
pub(crate) struct Stream {
    connection: TcpStream,
    buffer: Vec<u8>,
    last_id: Option<String>,
    reset: bool,
}

impl Stream {
    /// Watches a topic, or all topics, and waits until the service sends the position of the
    /// stream. With `last_id`, the stream resumes after that event. With `small`, the receive
    /// buffer is small, for a stream that is left unread.
    pub(crate) async fn open(
        target: SocketAddr,
        topic: Option<usize>,
        last_id: Option<&str>,
        small: bool,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if small {
            socket.set_recv_buffer_size(SMALL_BUFFER)?;
        }
        let mut connection = socket.connect(target).await?;
        let query = topic.map(|topic| format!("?archetype={}", Topic::archetype(topic))).unwrap_or_default();
        let last = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        // A response to HTTP/1.0 is not chunked: it ends with its connection.
        let head = format!("GET /watch{query} HTTP/1.0\r\nhost: {target}\r\n{last}\r\n");
        connection.write_all(head.as_bytes()).await?;
        let mut stream = Self { connection, buffer: Vec::new(), last_id: None, reset: false };
        let head = stream.read_block(b"\r\n\r\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if !head.starts_with("HTTP/1.0 200") {
            return Err(io::Error::other(head));
        }
        let start = stream.read_block(b"\n\n").await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        stream.reset = start.contains("event: reset");
        stream.event(&start);
        Ok(stream)
    }

    /// Whether the stream began with a `reset` event.
    pub(crate) fn was_reset(&self) -> bool {
        self.reset
    }

    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Reads until the event of a peer whose id begins with `end`, and returns the events before
    /// it.
    pub(crate) async fn read_until(&mut self, end: &str) -> io::Result<Vec<Received>> {
        let mut received = Vec::new();
        while let Some(event) = self.next().await? {
            if event.key.starts_with(&format!("joined {end}")) {
                return Ok(received);
            }
            received.push(event);
        }
        Err(io::Error::other("the stream of a reading watcher has ended"))
    }

    /// All events, until each topic has sent its end marker.
    pub(crate) async fn read_ends(&mut self, mut topics: usize) -> io::Result<Vec<Received>> {
        let mut received = Vec::new();
        while topics > 0 {
            let Some(event) = self.next().await? else { break };
            if event.key.starts_with("joined end-") {
                topics -= 1;
            } else {
                received.push(event);
            }
        }
        Ok(received)
    }

    /// All events until the connection is closed.
    pub(crate) async fn read_to_end(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        // If the service aborts the connection, `next` may return an error (a TCP reset), which
        // also ends the stream.
        while let Ok(Some(event)) = self.next().await {
            received.push(event);
        }
        received
    }

    async fn next(&mut self) -> io::Result<Option<Received>> {
        while let Some(block) = self.read_block(b"\n\n").await? {
            if let Some(key) = self.event(&block) {
                return Ok(Some(Received { key, at: Instant::now() }));
            }
        }
        Ok(None)
    }

    /// Records the id of a block. Returns the key if the block is a change.
    fn event(&mut self, block: &str) -> Option<String> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = field("id: ") {
            self.last_id = Some(id.to_owned());
        }
        let kind = field("event: ").filter(|kind| matches!(*kind, "joined" | "changed" | "left"))?;
        let data = field("data: ")?;
        let peer = data.strip_prefix(r#"{"peer_id":""#)?.split('"').next()?;
        let number = data.split_once(r#""v":"#).map_or("", |(_, rest)| rest.split(',').next().unwrap_or(""));
        Some(format!("{kind} {peer} {number}"))
    }

    /// The text before `end`; `None` if the connection ends before it.
    async fn read_block(&mut self, end: &[u8]) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let rest = self.buffer.split_off(at + end.len());
                let mut block = std::mem::replace(&mut self.buffer, rest);
                block.truncate(at);
                return Ok(Some(String::from_utf8_lossy(&block).into_owned()));
            }
            if self.connection.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// [`Outcome::Complete`] if the received events of each topic are its changes, in order; otherwise
/// [`Outcome::Gap`].
pub(crate) fn outcome(received: &[Received], changes: &[Vec<Change>]) -> Outcome {
    let mut by_topic: HashMap<&str, Vec<&str>> = HashMap::new();
    for Received { key, .. } in received {
        let topic = key.split("peer-").nth(1).and_then(|rest| rest.split('-').next()).unwrap_or_default();
        by_topic.entry(topic).or_default().push(key);
    }
    let whole = changes.iter().enumerate().all(|(topic, changes)| {
        let received = by_topic.get(topic.to_string().as_str()).map_or(&[][..], Vec::as_slice);
        changes
            .iter()
            .map(|change| change.key.as_str())
            .eq(received.iter().copied().filter(|key| !key.contains(" end-")))
    });
    if whole { Outcome::Complete } else { Outcome::Gap }
}
