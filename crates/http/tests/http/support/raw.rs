//! A connection on which a test writes and reads plain text.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::TIMEOUT;

pub(crate) struct RawConnection(pub(crate) TcpStream);

impl RawConnection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `text` has arrived, and returns everything up to then.
    pub(crate) async fn expect(&mut self, text: &str) -> String {
        let mut received = Vec::new();
        while !received.ends_with(text.as_bytes()) {
            let length =
                timeout(TIMEOUT, self.0.read_buf(&mut received)).await.expect("no data arrives").unwrap();
            assert!(length > 0, "the connection ended after {:?}", String::from_utf8_lossy(&received));
        }
        String::from_utf8_lossy(&received).into_owned()
    }

    /// Reads until the service closes the connection, which it must do, and returns all data.
    pub(crate) async fn until_closed(&mut self) -> String {
        let mut received = Vec::new();
        // An error is ignored, because a connection that the service resets is closed too.
        let _ = timeout(TIMEOUT, self.0.read_to_end(&mut received)).await.expect("the connection stays open");
        String::from_utf8_lossy(&received).into_owned()
    }
}
