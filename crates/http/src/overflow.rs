//! Connections over the limit get a quick 503, by bounded work.
//!
//! The response is written without hyper and before any request is read: a connection that would
//! first have to send one is what there is no room for.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::Failure;
use crate::header::CommonHeaders;
use crate::origin::RequestId;

/// Most connections that are answered at once; others are only closed.
const MAX_ANSWERED: usize = 64;
/// How long answering one may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// When to try again, in seconds: connections come and go all the time.
const RETRY_SECONDS: u32 = 1;

/// Answers connections over the limit.
pub(crate) struct Overflow {
    permits: Arc<Semaphore>,
    headers: CommonHeaders,
    /// Whether a client would understand a response that comes without a handshake.
    plain: bool,
}

impl Overflow {
    pub(crate) fn new(headers: CommonHeaders, plain: bool) -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_ANSWERED)), headers, plain }
    }

    /// Asks a client to try again, and closes.
    pub(crate) fn refuse(&self, mut stream: TcpStream) {
        let Some(permit) = self.permits.clone().try_acquire_owned().ok().filter(|_| self.plain) else {
            return;
        };
        let response = self.response();
        tokio::spawn(async move {
            let answered = async {
                stream.write_all(&response).await?;
                stream.shutdown().await?;
                // Closing on unread bytes would reset the connection before the client has read the
                // response.
                let mut unread = [0; 1024];
                while stream.read(&mut unread).await? > 0 {}
                std::io::Result::Ok(())
            };
            // A client that has left needs no response.
            let _ = timeout(PATIENCE, answered).await;
            drop(permit);
        });
    }

    fn response(&self) -> Vec<u8> {
        let body = Failure::unavailable("too many connections are open; try again").body();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut text = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\nretry-after: {RETRY_SECONDS}\r\ncontent-length: {}\r\n",
            body.len()
        )
        .into_bytes();
        for (name, value) in &self.headers.of(&RequestId::fresh()) {
            text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body);
        text
    }
}
