//! The peers of one archetype, which register, change and leave one after the other.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wire::post;

/// One change of the network.
pub(crate) struct Change {
    /// The event that a watcher must receive: the kind, the peer, and the number of the change if
    /// the peer publishes it.
    pub(crate) key: String,
    /// When the service's response to the change had arrived.
    pub(crate) responded_at: Instant,
}

/// The peers of one archetype, and the connection for their requests.
pub(crate) struct Topic {
    target: SocketAddr,
    connection: TcpStream,
    name: usize,
    /// Whether each peer is live.
    live: Vec<bool>,
    changes: u64,
}

/// The bytes of padding in the metadata of each registration, four times the size of a whole
/// registration of a legacy client. Each connection has socket buffers of some megabytes in the
/// kernel. The events of a run must be larger than that, so that the service has to buffer events
/// for a watcher that doesn't read.
const PADDING: usize = 1_000;

impl Topic {
    pub(crate) fn archetype(number: usize) -> String {
        format!("topic-{number}")
    }

    /// Registers the peers.
    pub(crate) async fn fill(target: SocketAddr, name: usize, peers: usize) -> io::Result<Self> {
        let connection = TcpStream::connect(target).await?;
        connection.set_nodelay(true)?;
        let mut topic = Self { target, connection, name, live: vec![true; peers], changes: 0 };
        for peer in 0..peers {
            topic.register(peer).await?;
        }
        Ok(topic)
    }

    /// Changes one peer of the topic per `interval` until `end`. Finally registers a peer whose id
    /// begins with `end-`. Its event tells the watchers that no more changes of this topic follow.
    pub(crate) async fn change_until(mut self, end: Instant, interval: Duration) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut due = tokio::time::Instant::now();
        while Instant::now() < end {
            let peer = fastrand::usize(..self.live.len());
            let key = match (self.live[peer], fastrand::bool()) {
                (true, true) => self.deregister(peer).await?,
                (true, false) => format!("changed {}", self.register(peer).await?),
                (false, _) => format!("joined {}", self.register(peer).await?),
            };
            changes.push(Change { key, responded_at: Instant::now() });
            // Due times are absolute, so that a slow response does not lower the rate.
            due += interval;
            tokio::time::sleep_until(due).await;
        }
        let end =
            format!(r#"{{"peer_id":"end-{}","archetypes":["{}"]}}"#, self.name, Self::archetype(self.name));
        self.send("/register", &end).await?;
        Ok(changes)
    }

    async fn register(&mut self, peer: usize) -> io::Result<String> {
        self.live[peer] = true;
        self.changes += 1;
        let (id, number) = (self.id(peer), self.changes);
        let (archetype, padding) = (Self::archetype(self.name), "x".repeat(PADDING));
        let body = format!(
            r#"{{"peer_id":"{id}","port":9000,"archetypes":["{archetype}"],"metadata":{{"v":{number},"p":"{padding}"}},"ttl_seconds":3600}}"#
        );
        self.send("/register", &body).await?;
        Ok(format!("{id} {number}"))
    }

    async fn deregister(&mut self, peer: usize) -> io::Result<String> {
        self.live[peer] = false;
        let id = self.id(peer);
        self.send("/deregister", &format!(r#"{{"peer_id":"{id}"}}"#)).await?;
        Ok(format!("left {id} "))
    }

    fn id(&self, peer: usize) -> String {
        format!("peer-{}-{peer}", self.name)
    }

    async fn send(&mut self, path: &str, body: &str) -> io::Result<()> {
        self.connection.write_all(&post(self.target, path, body)).await?;
        let mut response = Vec::new();
        while !is_complete(&response) {
            if self.connection.read_buf(&mut response).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let ok = response.starts_with(b"HTTP/1.1 200");
        if ok { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&response).into_owned())) }
    }
}

fn is_complete(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.and_then(|length| length.parse().ok()).is_some_and(|length| body.len() >= length)
}
