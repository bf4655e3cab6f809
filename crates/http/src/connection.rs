//! One connection, from its handshake to its end.

mod body;
mod head;
mod io;
mod proxy_hint;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod unread;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::response::Response;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::error::Failure;
use crate::exchange::{DiscoveryService, Via};
use crate::options::ServerOptions;
use crate::origin::Origin;

use body::TimedBody;
use io::MonitoredIo;
use proxy_hint::ProxyHint;
use state::{ConnectionState, Timeouts};

/// The maximum number of bytes of a request's head, and of data read ahead. It is ten times what a
/// browser sends, and all that a slow connection can hold. On HTTP/2 it bounds the headers after
/// decompression, where a byte can stand for thousands. A request beyond it gets a 431, and one
/// beyond four times as much ends its connection.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// The maximum number of concurrent requests on one HTTP/2 connection: enough for a page in a
/// browser, and a small part of the requests that may be in flight.
const MAX_STREAMS: u32 = 32;

/// The maximum number of bytes that an HTTP/2 client may send before the service reads them: two
/// bodies of maximum length per stream, and those of a few streams per connection. With the usual
/// megabyte, any connection could occupy that much memory.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// How long a connection stays open during a shutdown when only event streams are left on it. This
/// is enough time to send the ends of the streams. Without it, a client that does not read would
/// delay the shutdown by the whole grace period.
const STREAM_END_TIMEOUT: Duration = Duration::from_secs(1);

/// The state that all connections of a server share.
pub(crate) struct ConnectionServer {
    service: DiscoveryService,
    trusted_hops: usize,
    proxy_hint: ProxyHint,
    timeouts: Timeouts,
    tls: Option<TlsAcceptor>,
    protocols: Builder<TokioExecutor>,
}

impl ConnectionServer {
    pub(crate) fn new(service: DiscoveryService, tls: Option<TlsAcceptor>, options: &ServerOptions) -> Self {
        let timeouts = Timeouts::from(options);
        Self {
            service,
            trusted_hops: options.trusted_hops,
            proxy_hint: ProxyHint::default(),
            timeouts,
            tls,
            protocols: protocols(),
        }
    }

    /// The state of a connection that was just accepted.
    pub(crate) fn new_state(&self) -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new(self.timeouts))
    }

    /// Serves one connection until either side closes it, it exceeds a timeout, or `stop` ends it.
    pub(crate) async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        peer: IpAddr,
        state: Arc<ConnectionState>,
        stop: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = Connection { server: self.clone(), peer, state };
        match &self.tls {
            None => serve_http(stream, connection, stop).await,
            Some(acceptor) => {
                // A connection that does not finish its handshake is dropped silently.
                if let Ok(Ok(stream)) = timeout(self.timeouts.head, acceptor.accept(stream)).await {
                    serve_http(stream, connection, stop).await;
                }
            }
        }
    }
}

/// Serves HTTP/1.1 or HTTP/2, depending on what the client starts with.
fn protocols() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // The connection's state also bounds the head, without a timer for each request.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES as usize)
        // A client may end its side after its request. One that has gone resets the connection when
        // the response, or the next event of a stream, is sent to it.
        .half_close(true);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// One connection, as its requests see it.
struct Connection {
    server: Arc<ConnectionServer>,
    peer: IpAddr,
    state: Arc<ConnectionState>,
}

impl Connection {
    /// Passes a request to the service, with its origin and the state of the connection.
    async fn respond(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let multiplexed = request.version() == Version::HTTP_2;
        let _guard = self.state.begin_request(multiplexed, !request.body().is_end_stream());
        let malformed = head::check(&request).err();
        let close = malformed.is_some() && !multiplexed;
        let (origin, unknown_client) = self.origin(request.headers());
        let via = Via { connection: Some(self.state.clone()), malformed, unknown_client };
        let request = request.map(|body| TimedBody::new(body, self.state.clone(), multiplexed));
        let mut response = self.server.service.respond_on(request, origin, via).await;
        // It is not certain where the next request would begin.
        if close {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // axum sets this header on every response, but a 204 must not have it (RFC 9110, 8.6).
        if response.status() == StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        Ok(response)
    }

    /// The origin of a request, and its refusal if its client is not known.
    fn origin(&self, headers: &HeaderMap) -> (Origin, Option<Failure>) {
        let hops = self.server.trusted_hops;
        if hops == 0 {
            self.server.proxy_hint.observe(headers, self.peer);
        }
        match Origin::of(headers, self.peer, hops) {
            Ok(origin) => (origin, None),
            Err(error) => {
                let address = self.peer.to_canonical();
                (Origin { address, ..Origin::default() }, Some(error.into()))
            }
        }
    }
}

/// Drives one connection until either side closes it, its state's deadline passes, or `stop` ends
/// it.
async fn serve_http<S>(stream: S, connection: Connection, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let state = connection.state.clone();
    let io = TokioIo::new(MonitoredIo::new(stream, state.clone()));
    let protocols = connection.server.protocols.clone();
    let connection = Arc::new(connection);
    let service = service_fn(move |request| {
        let connection = connection.clone();
        async move { connection.respond(request).await }
    });
    let mut connection = pin!(protocols.serve_connection(io, service));
    let mut stopped = pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
    let mut stopping = false;
    // When the connection is closed during a shutdown because only event streams are left on it.
    let mut streams_deadline = None;
    let mut recheck_after = state.timeouts().head;
    let mut timer = pin!(sleep_until(Instant::now() + recheck_after));
    poll_fn(|context| {
        // The deadline is computed after the poll, from the marks that the poll has set.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !stopping && stopped.as_mut().poll(context).is_ready() {
            stopping = true;
            recheck_after = STREAM_END_TIMEOUT;
            timer.as_mut().reset(Instant::now() + recheck_after);
            // Idle connections end now; others end after their requests.
            connection.as_mut().graceful_shutdown();
            // If the client does not read a stream, the end of the stream can't be sent to it.
            if connection.as_mut().poll(context).is_ready() || state.has_stalled_stream() {
                return Poll::Ready(());
            }
        }
        loop {
            if stopping {
                let end = streams_deadline.unwrap_or_else(|| Instant::now() + STREAM_END_TIMEOUT);
                streams_deadline = state.has_only_streams().then_some(end);
            }
            // The timer is only moved to an earlier time. If it fires before the deadline, it is
            // set again, so that a deadline that moves to a later time costs no timer operation.
            let deadline = state.deadline().into_iter().chain(streams_deadline).min();
            if deadline.is_some_and(|deadline| deadline < timer.deadline()) {
                timer.as_mut().reset(deadline.unwrap_or_else(Instant::now));
            }
            ready!(timer.as_mut().poll(context));
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return Poll::Ready(()),
                Some(deadline) => timer.as_mut().reset(deadline),
                None => timer.as_mut().reset(Instant::now() + recheck_after),
            }
        }
    })
    .await;
}
