//! One connection, from its handshake to its end.

mod body;
mod head;
mod head_counter;
mod io;
mod proxy_hint;
mod stall;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod unread;
mod wrong_protocol;

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
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::Failure;
use crate::exchange::{ConnectionDetails, DiscoveryService, OverRate};
use crate::options::ServerOptions;
use crate::origin::Origin;
use crate::shutdown::{Stage, reached};
use crate::tls::Tls;

use body::TimedBody;
use io::MonitoredIo;
use proxy_hint::ProxyHint;
use stall::StreamExecutor;
use state::{ConnectionState, Timeouts};
use wrong_protocol::{CheckedIo, TlsHint};

/// The maximum number of bytes of a request's head that the HTTP library accepts, and of data that
/// it reads ahead on HTTP/1. It is ten times what a browser sends. On HTTP/2 it limits the headers
/// after decompression, because one compressed byte can stand for thousands. The library refuses a
/// larger head with 431. On HTTP/2, it ends the connection if the head has more than four times
/// this size. The service itself refuses a head of more than half this size, with a complete
/// response (see `head`).
const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// The maximum number of concurrent requests on one HTTP/2 connection: enough for a browser that
/// loads the web page, and a small part of the requests that may be in flight.
const MAX_STREAMS: u32 = 32;

/// The maximum number of bytes that an HTTP/2 client may send before the service reads them, on one
/// stream and on the whole connection. A stream may send two bodies of maximum length, and a
/// connection as much as four streams. With the usual windows of a megabyte, each connection could
/// occupy that much memory.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// How long a connection stays open after the drain while the service has nothing to do on it and
/// the client sends nothing. In this time, a new connection delivers its first request, the end of
/// an event stream is sent, and an HTTP/2 client acknowledges GOAWAY. A client that does not read
/// or respond would otherwise delay the shutdown by the whole grace period.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a 429, and any other response to a client that exceeds its rate, is delayed. Such a
/// client would otherwise send the next request at once, and could keep the service busy with
/// refusals.
const RATE_LIMITED_DELAY: Duration = Duration::from_millis(100);

/// The state that all connections of a server share.
pub(crate) struct ConnectionServer {
    service: DiscoveryService,
    trusted_hops: usize,
    proxy_hint: ProxyHint,
    timeouts: Timeouts,
    tls: Option<Arc<Tls>>,
    protocols: Builder<StreamExecutor>,
    tls_hint: TlsHint,
}

impl ConnectionServer {
    pub(crate) fn new(service: DiscoveryService, tls: Option<Arc<Tls>>, options: &ServerOptions) -> Self {
        let timeouts = Timeouts::from(options);
        Self {
            service,
            trusted_hops: options.trusted_hops,
            proxy_hint: ProxyHint::default(),
            timeouts,
            tls,
            protocols: protocols(),
            tls_hint: TlsHint::default(),
        }
    }

    /// The state of a connection that was just accepted.
    pub(crate) fn new_state(&self) -> Arc<ConnectionState> {
        Arc::new(ConnectionState::new(self.timeouts))
    }

    /// Serves one connection until either side closes it, it exceeds a timeout, or the shutdown
    /// ends it.
    pub(crate) async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        peer: IpAddr,
        state: Arc<ConnectionState>,
        stages: watch::Receiver<Stage>,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = CheckedIo::new(stream, state.clone(), self.tls.is_some());
        let connection = Connection { server: self.clone(), peer, state: state.clone() };
        let Some(tls) = &self.tls else {
            serve_http(stream, connection, stages).await;
            if state.has_wrong_protocol() {
                self.tls_hint.log(peer);
            }
            return;
        };
        let handshake = timeout(self.timeouts.head, tls.acceptor().accept(stream).into_fallible());
        let stopped = async {
            reached(stages.clone(), Stage::Stopping).await;
            sleep(LAST_REQUEST_TIMEOUT).await;
        };
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = stopped => return,
        };
        match accepted {
            Ok(Ok(stream)) => serve_http(stream, connection, stages).await,
            Ok(Err((_, stream))) if state.has_wrong_protocol() => stream.refuse_plain_http().await,
            // A connection that does not finish its handshake is dropped silently.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Serves HTTP/1.1 or HTTP/2, depending on what the client starts with.
fn protocols() -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor);
    builder
        .http1()
        // The connection's state limits the time for the head, without a timer for each request.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES as usize)
        // A client may close its sending side after its request and still read the response. If the
        // client has closed its receiving side too, its system resets the connection when the
        // response, or the next event of a stream, is sent to it.
        .half_close(true);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// What the service needs to know about the connection of a request.
struct Connection {
    server: Arc<ConnectionServer>,
    peer: IpAddr,
    state: Arc<ConnectionState>,
}

impl Connection {
    /// Passes a request to the service, with its origin and the state of the connection.
    async fn respond(&self, request: Request<Incoming>) -> Result<Response, Infallible> {
        let multiplexed = request.version() == Version::HTTP_2;
        let guard = self.state.begin_request(multiplexed, !request.body().is_end_stream());
        let malformed = head::check(&request).err();
        let close = malformed.is_some() && !multiplexed;
        let (origin, unknown_client) = self.origin(request.headers());
        let details = ConnectionDetails { connection: Some(self.state.clone()), malformed, unknown_client };
        let request = request.map(|body| TimedBody::new(body, self.state.clone(), multiplexed));
        let mut response = self.server.service.respond_on(request, origin, details).await;
        // After a malformed head, it is not certain where the next request begins, so the
        // connection is closed.
        if close {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if response.status() == StatusCode::TOO_MANY_REQUESTS
            || response.extensions().get::<OverRate>().is_some()
        {
            // Without its guard, the request no longer counts as in progress, so that the
            // connection can be closed for another during the delay.
            drop(guard);
            sleep(RATE_LIMITED_DELAY).await;
        }
        // axum sets `Content-Length` on a 204 too, which must not have it (RFC 9110, 8.6).
        if response.status() == StatusCode::NO_CONTENT {
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        // HTTP/2 forbids the header `Connection` and has GOAWAY instead.
        if self.server.service.is_draining() && !multiplexed {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }

    /// The origin of a request. The second value is the refusal of the request if the trusted
    /// proxies did not name its client.
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

/// Drives one connection until either side closes it, its state's deadline passes, or the shutdown
/// ends it.
async fn serve_http<S>(stream: S, connection: Connection, stages: watch::Receiver<Stage>)
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
    let mut stage = Stage::Serving;
    let mut draining = pin!(reached(stages.clone(), Stage::Draining));
    let mut stopping = pin!(reached(stages.clone(), Stage::Stopping));
    let mut watches_drain = false;
    let mut asked_to_close = false;
    // The `Silence` in progress, if there is one. It is set only in the stage `Stopping`. When it
    // has lasted for `LAST_REQUEST_TIMEOUT`, the connection is closed.
    let mut silence = None;
    // How long the timer runs while the connection has no deadline.
    let mut recheck_after = state.timeouts().head;
    let mut timer = pin!(sleep_until(Instant::now() + recheck_after));
    poll_fn(|context| {
        // The deadline is computed after the poll, because the poll updates the state that it
        // depends on.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        // Polling `draining` takes a lock that all connections share. One poll is enough until the
        // stage changes, because it registers the task's waker, which stays the same.
        if stage == Stage::Serving && (!watches_drain || stages.has_changed().unwrap_or(true)) {
            watches_drain = true;
            if draining.as_mut().poll(context).is_ready() {
                stage = Stage::Draining;
            }
        }
        let stops_now = stage == Stage::Draining && stopping.as_mut().poll(context).is_ready();
        if stops_now {
            stage = Stage::Stopping;
            recheck_after = LAST_REQUEST_TIMEOUT;
            timer.as_mut().reset(Instant::now() + recheck_after);
        }
        if !asked_to_close && state.may_close(stage) {
            asked_to_close = true;
            // Idle connections end now; others end after their requests.
            connection.as_mut().graceful_shutdown();
            if connection.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
        }
        // If the client does not read an event stream, the end of the stream can't be sent to it.
        // The connection is therefore closed at once.
        if stops_now && state.has_stalled_stream() {
            return Poll::Ready(());
        }
        loop {
            if stage == Stage::Stopping {
                silence = Silence::after(silence, &state);
            }
            // The timer is moved only if the deadline is earlier. If the timer fires before the
            // deadline, it is set again. A deadline that moves to a later time therefore costs no
            // timer operation at that moment.
            let silence_ends = silence.as_ref().map(|silence| silence.ends);
            let deadline = state.deadline().into_iter().chain(silence_ends).min();
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

/// A time during which the client sends nothing, and no request is in progress except event
/// streams.
#[derive(Clone, Copy)]
struct Silence {
    /// The connection's number of reads when the silence began.
    reads: u32,
    ends: Instant,
}

impl Silence {
    /// The current silence, which may have begun earlier or begin now. `None` while the service has
    /// something to do on the connection.
    fn after(previous: Option<Self>, state: &ConnectionState) -> Option<Self> {
        let reads = state.reads();
        let continued = previous.filter(|silence| silence.reads == reads);
        let begun = || Self { reads, ends: Instant::now() + LAST_REQUEST_TIMEOUT };
        state.is_done().then(|| continued.unwrap_or_else(begun))
    }
}
