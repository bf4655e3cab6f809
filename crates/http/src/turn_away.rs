//! What becomes of connections over the bound: a quick 503, by bounded work.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::error::Failure;
use crate::header::CommonHeaders;
use crate::origin::RequestId;

/// Most connections that are told; beyond that they are only closed.
const MAX_TOLD: usize = 64;
/// How long telling one may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// When to try again, in seconds: connections come and go all the time.
const RETRY_SECONDS: u32 = 1;

/// Turns connections away.
pub(crate) struct TurnAway {
    places: Arc<Semaphore>,
    headers: CommonHeaders,
    /// Whether a client would understand an answer that comes without a handshake.
    plain: bool,
}

impl TurnAway {
    pub(crate) fn new(cors: bool, plain: bool) -> Self {
        Self { places: Arc::new(Semaphore::new(MAX_TOLD)), headers: CommonHeaders::new(cors), plain }
    }

    /// Tells a client to come again, and closes.
    pub(crate) fn turn_away(&self, mut stream: TcpStream) {
        let Some(place) = self.places.clone().try_acquire_owned().ok().filter(|_| self.plain) else {
            return;
        };
        let answer = self.answer();
        tokio::spawn(async move {
            let told = async {
                stream.write_all(&answer).await?;
                stream.shutdown().await?;
                // Closing on unread bytes would reset the connection before the client has read its answer.
                let mut unread = [0; 1024];
                while stream.read(&mut unread).await? > 0 {}
                std::io::Result::Ok(())
            };
            // Who leaves before it is told needs no answer.
            let _ = timeout(PATIENCE, told).await;
            drop(place);
        });
    }

    fn answer(&self) -> Vec<u8> {
        let failure = Failure::unavailable("too many connections are open; try again");
        let Answer { body, .. } = failure.into();
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let mut text = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\nretry-after: {RETRY_SECONDS}\r\ncontent-length: {}\r\n",
            body.len()
        )
        .into_bytes();
        for (name, value) in &self.headers.of(&RequestId::fresh(), None) {
            text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body);
        text
    }
}
