//! A TCP relay in front of the server that holds back batches of changes.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The command that sends a batch.
const BATCH: &[u8] = b"EVALSHA";

/// A relay to a server. It holds back the first batch of each connection until
/// [`Gate::open`] is called.
pub(crate) struct Gate {
    pub(crate) url: String,
    held: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    /// Starts a relay to the server at `url`.
    pub(crate) async fn in_front_of(url: &str) -> Self {
        let address = url.strip_prefix("redis://").expect("a URL without TLS").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gate = Self {
            url: format!("redis://{}", listener.local_addr().expect("an address")),
            held: Arc::default(),
            open: Arc::default(),
        };
        let (held, open) = (Arc::clone(&gate.held), Arc::clone(&gate.open));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&address).await.expect("the server is up");
                let ((from, mut back), (mut replies, to)) = (client.into_split(), server.into_split());
                tokio::spawn(relay(from, to, Arc::clone(&held), Arc::clone(&open)));
                tokio::spawn(async move { copy(&mut replies, &mut back).await });
            }
        });
        gate
    }

    /// Waits until a batch is held back.
    pub(crate) async fn holds_a_batch(&self) {
        self.held.notified().await;
    }

    /// Forwards the batch that is held back, and everything that follows on its connection.
    pub(crate) fn open(&self) {
        self.open.notify_one();
    }
}

/// Forwards bytes in one direction, and holds back the first batch.
async fn relay(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, held: Arc<Notify>, open: Arc<Notify>) {
    let (mut buffer, mut is_open) = (vec![0; 64 << 10], false);
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let sent = &buffer[..count];
        if !is_open && sent.windows(BATCH.len()).any(|window| window == BATCH) {
            held.notify_one();
            open.notified().await;
            is_open = true;
        }
        if to.write_all(sent).await.is_err() {
            return;
        }
    }
}
