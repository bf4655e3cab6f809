//! Sends a quick 503 to connections over the limit, with bounded work.
//!
//! The response is written without hyper and before a request is read, because there is no capacity
//! to wait for a request.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::error::Failure;
use crate::header::CommonHeaders;
use crate::origin::RequestId;

/// The maximum number of such connections that get a response at once; others are closed without
/// one.
const MAX_RESPONSES: usize = 64;
/// The time limit for one such response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The `Retry-After` in seconds. It is short because connections open and close all the time.
const RETRY_SECONDS: u32 = 1;

/// Responds to connections over the limit.
pub(crate) struct Overflow {
    permits: Arc<Semaphore>,
    headers: CommonHeaders,
    /// Whether the listener is without TLS, so that a client can read a response without a
    /// handshake.
    plain: bool,
}

impl Overflow {
    pub(crate) fn new(headers: CommonHeaders, plain: bool) -> Self {
        Self { permits: Arc::new(Semaphore::new(MAX_RESPONSES)), headers, plain }
    }

    /// Asks the client to try again, and closes the connection.
    pub(crate) fn refuse(&self, mut stream: TcpStream) {
        // Without a permit, or over TLS, the connection is closed by dropping it.
        let Some(permit) = self.permits.clone().try_acquire_owned().ok().filter(|_| self.plain) else {
            return;
        };
        let response = self.response();
        tokio::spawn(async move {
            let responded = async {
                stream.write_all(&response).await?;
                stream.shutdown().await?;
                // Closing with unread bytes would reset the connection before the client has read
                // the response.
                let mut unread = [0; 1024];
                while stream.read(&mut unread).await? > 0 {}
                std::io::Result::Ok(())
            };
            // It does not matter if the client is already gone.
            let _ = timeout(RESPONSE_TIMEOUT, responded).await;
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
        for (name, value) in &self.headers.of(&Method::GET, status, RequestId::fresh()) {
            text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body);
        text
    }
}
