//! Clients that speak TLS to a plain port, or plain HTTP to a TLS port.
//!
//! Without this check, a TLS client would get an HTTP error, which no TLS library can explain, and
//! an HTTP client would get a TLS alert. Both kinds of clients are recognised by the first byte
//! that they send.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout};

use super::state::ConnectionState;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// The response to plain HTTP on a TLS port.
const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
    content-length: 53\r\n\r\nThis port serves HTTPS: begin the URL with https://.\n";
/// The time limit for that response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The minimum time between two lines of the log about TLS clients on a plain port. Scanners try
/// TLS on every port, and must not fill the log.
const HINT_INTERVAL: Duration = Duration::from_secs(60);

/// An I/O stream that checks the first byte that the client sends. If it belongs to the wrong
/// protocol, the read fails, and the connection's state records the reason.
#[derive(Debug)]
pub(super) struct CheckedIo<S> {
    stream: S,
    state: Arc<ConnectionState>,
    expects_tls: bool,
    is_checked: bool,
}

impl<S> CheckedIo<S> {
    pub(super) fn new(stream: S, state: Arc<ConnectionState>, expects_tls: bool) -> Self {
        Self { stream, state, expects_tls, is_checked: false }
    }

    /// Whether a client that begins with `byte` speaks the other protocol. HTTP begins with an
    /// upper-case letter, because its methods are upper-case words.
    fn is_wrong(&self, byte: u8) -> bool {
        if self.expects_tls { byte.is_ascii_uppercase() } else { byte == TLS_HANDSHAKE }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> CheckedIo<S> {
    /// Tells a client on a TLS port to use HTTPS.
    pub(super) async fn refuse_plain_http(mut self) {
        let responded = async {
            self.stream.write_all(USE_HTTPS.as_bytes()).await?;
            self.stream.shutdown().await?;
            // Closing with unread bytes would reset the connection before the client has read the
            // response.
            let mut unread = [0; 1024];
            while self.stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        // It does not matter if the client is already gone.
        let _ = timeout(RESPONSE_TIMEOUT, responded).await;
    }
}

impl<S: AsyncRead + Unpin> CheckedIo<S> {
    /// Reads what has arrived, because closing with unread bytes would reset the connection.
    fn discard(&mut self, context: &mut Context<'_>) {
        const MAX_READS: usize = 16; // of 1 KiB each: more than a client sends before a response
        let mut unread = [0; 1024];
        for _ in 0..MAX_READS {
            let mut buffer = ReadBuf::new(&mut unread);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                _ => return,
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CheckedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if !self.is_checked
            && let Some(&first) = buffer.filled().get(before)
        {
            self.is_checked = true;
            if self.is_wrong(first) {
                self.state.speaks_wrong_protocol();
                self.discard(context);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CheckedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Logs a hint about clients that speak TLS to a plain port, once in a while.
#[derive(Debug, Default)]
pub(super) struct TlsHint {
    last: Mutex<Option<Instant>>,
}

impl TlsHint {
    pub(super) fn log(&self, client: IpAddr) {
        let mut last = self.last.lock();
        if last.is_none_or(|last| last.elapsed() >= HINT_INTERVAL) {
            *last = Some(Instant::now());
            tracing::warn!(
                %client,
                "a client speaks TLS to this port, which serves plain HTTP: use http:// in its URL, \
                 or serve with --tls-cert and --tls-key"
            );
        }
    }
}
