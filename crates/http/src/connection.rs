//! One connection, from its handshake to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use aurora_protocol::Code;
use bytes::Bytes;
use http::{Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

use crate::answer::AnswerBody;
use crate::body::read_body;
use crate::contract::Contract;
use crate::error::Failure;
use crate::inbox::Inbox;
use crate::origin::Origin;
use crate::pace::{Bounds, Pace, Paced, Streaming};

/// Most bytes of a request's head, and of what is read ahead: ten times a browser's, and all that a slow connection can hold.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most requests at once on one HTTP/2 connection: a page of calls for a browser, and little of what may be in flight.
const MAX_STREAMS: u32 = 32;

/// Most bytes that an HTTP/2 client may send ahead of what was read: two of the longest bodies on a stream, a few streams' on a
/// connection. The protocol's usual megabyte would be memory that any connection can take.
const STREAM_WINDOW_BYTES: u32 = 32 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// How long a connection stays once the service stops and only streams of events are left on it: enough to send their ends. One
/// whose client gives it no room to send would hold the service for its whole grace.
const STREAMS_END: Duration = Duration::from_secs(1);

/// What all connections of a server share.
pub(crate) struct Host {
    pub(crate) contract: Contract,
    pub(crate) inbox: Inbox,
    pub(crate) trusted_hops: usize,
    pub(crate) bounds: Bounds,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) protocols: Builder<TokioExecutor>,
}

/// HTTP/1.1 and HTTP/2, whichever a client begins with.
pub(crate) fn protocols() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // The pace of a connection bounds its head as well, without a timer for each request.
    builder.http1().header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder
}

/// Serves one connection until either side ends it, it is too slow, or `stop` says so.
pub(crate) async fn serve_connection(
    stream: TcpStream,
    peer: IpAddr,
    host: Arc<Host>,
    stop: watch::Receiver<bool>,
) {
    // A refused option costs latency, not correctness.
    let _ = stream.set_nodelay(true);
    let pace = Arc::new(Pace::new(host.bounds));
    match &host.tls {
        None => converse(stream, Link { host, peer, pace }, stop).await,
        Some(acceptor) => {
            // Who does not finish a handshake is owed no answer, and no line of log either.
            if let Ok(Ok(stream)) = timeout(host.bounds.head, acceptor.accept(stream)).await {
                converse(stream, Link { host: host.clone(), peer, pace }, stop).await;
            }
        }
    }
}

/// One connection's end.
struct Link {
    host: Arc<Host>,
    peer: IpAddr,
    pace: Arc<Pace>,
}

async fn converse<S>(stream: S, link: Link, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let pace = link.pace.clone();
    let link = Arc::new(link);
    let io = TokioIo::new(Paced::new(stream, pace.clone()));
    let protocols = link.host.protocols.clone();
    let service = service_fn(move |request| {
        let link = link.clone();
        async move { Ok::<_, Infallible>(link.answer(request).await) }
    });
    let mut connection = pin!(protocols.serve_connection(io, service));
    let mut stopped = pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
    let mut stopping = false;
    let mut ending = None;
    let mut look_again = pace.bounds().head;
    let mut timer = pin!(sleep_until(Instant::now() + look_again));
    poll_fn(|context| {
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        if !stopping && stopped.as_mut().poll(context).is_ready() {
            stopping = true;
            look_again = STREAMS_END;
            timer.as_mut().reset(Instant::now() + look_again);
            connection.as_mut().graceful_shutdown();
            // A stream that its client does not read would never learn that it ends.
            if connection.as_mut().poll(context).is_ready() || pace.is_stalled_stream() {
                return Poll::Ready(());
            }
        }
        loop {
            if stopping {
                let begun = ending.unwrap_or_else(|| Instant::now() + STREAMS_END);
                ending = pace.only_streams().then_some(begun);
            }
            let deadline = pace.deadline().into_iter().chain(ending).min();
            if deadline.is_some_and(|deadline| deadline < timer.deadline()) {
                timer.as_mut().reset(deadline.unwrap_or_else(Instant::now));
            }
            ready!(timer.as_mut().poll(context));
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return Poll::Ready(()),
                Some(deadline) => timer.as_mut().reset(deadline),
                None => timer.as_mut().reset(Instant::now() + look_again),
            }
        }
    })
    .await;
}

impl Link {
    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (parts, body) = request.into_parts();
        let multiplexed = parts.version == Version::HTTP_2;
        let visit = self.pace.request(multiplexed, !body.is_end_stream());
        let body =
            if multiplexed { self.read_stream(body).await } else { read_body(body, &self.host.inbox).await };
        visit.body_read();
        let origin = Origin::of(&parts.headers, self.peer, self.host.trusted_hops);
        let mut response = self.host.contract.respond(Request::from_parts(parts, body), origin).await;
        if let AnswerBody::Events(events) = response.body_mut() {
            events.on(Streaming::new(self.pace.clone()));
        }
        response
    }

    /// Reads the body of one of many requests on a connection, which must not be cut off for it.
    async fn read_stream(&self, body: Incoming) -> Result<Bytes, Failure> {
        let late = |_| Failure::new(Code::InvalidBody, "the body took too long to arrive");
        timeout(self.pace.bounds().body, read_body(body, &self.host.inbox)).await.map_err(late)?
    }
}
