//! A connection without a client's manners.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Everything that comes until the service closes the connection, which it must.
    pub(crate) async fn until_closed(&mut self) -> String {
        let mut came = Vec::new();
        // A reset ends a connection as well as a proper close.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut came)).await.expect("the connection stays open");
        String::from_utf8_lossy(&came).into_owned()
    }

    /// One answer with a `content-length`.
    pub(crate) async fn answer(&mut self) -> String {
        let mut came = String::new();
        while !is_whole(&came) {
            let mut buffer = [0; 4_096];
            let length = timeout(PATIENCE, self.0.read(&mut buffer)).await.expect("no answer").unwrap();
            assert!(length > 0, "the connection ended after {came:?}");
            came.push_str(str::from_utf8(&buffer[..length]).unwrap());
        }
        came
    }
}

fn is_whole(came: &str) -> bool {
    let Some((head, body)) = came.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() >= length.parse().unwrap()
}
