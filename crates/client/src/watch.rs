//! The stream of changes, with reconnection.

mod connection;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aurora_discovery_protocol::{Change, ChangeKind, ChangesRequest, Peer, PeerId};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use sse_stream::Sse;
use tokio::time::{Instant, sleep_until, timeout};

use crate::endpoint::Endpoint;
use crate::retry::full_jitter;
use crate::transport::OutgoingRequest;
use crate::{Client, Error};
use connection::{Connection, ReadError};

/// How long a stream may be silent. The service sends a comment every 15 seconds, so that three of
/// them are missing by then.
const SILENCE: Duration = Duration::from_secs(45);
/// The upper bound of the random part of the first wait before a reconnection.
const FIRST_CEILING: Duration = Duration::from_secs(1);
/// The maximum of that upper bound, and of the wait that the service requests.
const HIGHEST_CEILING: Duration = Duration::from_secs(60);

/// An event of [`Client::watch`].
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The stream has begun and will deliver every change from now on. A caller that enumerates the
    /// peers after this event therefore misses no change.
    Started,
    /// The peer is listed from now on. The caller may already know it.
    Joined(Peer),
    /// The peer registered again with different content.
    Changed(Peer),
    /// The peer is no longer listed. The caller may never have seen it.
    Left(PeerId),
    /// The service no longer has the changes since the last event, for example because it was
    /// restarted. Discard the known peers and enumerate again; the stream continues from here.
    Reset,
    /// The connection failed, or could not be opened. The stream will reconnect, at another
    /// endpoint if that may do better, and continue where it was.
    Interrupted {
        /// The reason.
        error: Error,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The stream is connected again and has missed nothing.
    Resumed,
}

impl From<Change> for WatchEvent {
    fn from(change: Change) -> Self {
        match change {
            Change::Joined(peer) => Self::Joined(peer),
            Change::Changed(peer) => Self::Changed(peer),
            Change::Left(peer_id) => Self::Left(peer_id),
        }
    }
}

/// The changes of the peers that match a query, as a `Stream`. [`Client::watch`] creates it.
///
/// After a transient failure the stream reports [`WatchEvent::Interrupted`] and reconnects without
/// limit, with growing waits and jitter. It continues at the last event, so that no change is
/// missed. A permanent failure, for example the code `not_available_here` of a service without a
/// change log, is an error and ends the stream.
///
/// The stream reads from the connection only when it is polled. It buffers at most one event and
/// what the HTTP client has received. If the caller polls too slowly, the service closes the
/// connection, and the stream reconnects. If the service has discarded the changes by then, the
/// stream reports [`WatchEvent::Reset`].
///
/// # Cancel safety
/// If a future that waits for the next item is dropped, no item is lost. Dropping the stream closes
/// the connection.
pub struct Watch {
    events: BoxStream<'static, EventWithCursor>,
    cursor: Option<String>,
}

/// An event, and the cursor after it.
type EventWithCursor = (Result<WatchEvent, Error>, Option<String>);

impl Watch {
    pub(crate) fn new(client: Client, request: ChangesRequest) -> Self {
        let cursor = request.since.clone();
        let watcher = Watcher {
            client,
            request,
            connection: None,
            reconnect_at: None,
            is_started: false,
            failures: 0,
            requested_wait: Duration::ZERO,
        };
        let events = stream::unfold(Some(watcher), |watcher| async move {
            let mut watcher = watcher?;
            let event = watcher.next_event().await;
            let cursor = watcher.request.since.clone();
            // A permanent failure ends the stream.
            let watcher = event.is_ok().then_some(watcher);
            Some(((event, cursor), watcher))
        });
        Self { events: Box::pin(events), cursor }
    }

    /// The next event, or `None` after an error. This is the same as `StreamExt::next`.
    ///
    /// # Cancel safety
    /// If the future is dropped, no event is lost.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        StreamExt::next(self).await
    }

    /// The cursor after the latest event. A later watch continues there, without a gap, if its
    /// [`ChangesRequest::since`] is this cursor.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((event, cursor)) = ready!(self.events.as_mut().poll_next(context)) else {
            return Poll::Ready(None);
        };
        self.cursor = cursor;
        Poll::Ready(Some(event))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// The state of a watch.
struct Watcher {
    client: Client,
    /// Its `since` is the cursor of the latest event.
    request: ChangesRequest,
    connection: Option<Connection>,
    reconnect_at: Option<Instant>,
    is_started: bool,
    /// Failures since the latest frame.
    failures: u32,
    /// How long to wait before a reconnection, as the service requested. The service chooses a
    /// random value for each stream, so that clients do not reconnect all at once.
    requested_wait: Duration,
}

/// The data of the events `start` and `reset`.
#[derive(Deserialize)]
struct Position {
    since: String,
}

impl Watcher {
    /// The next event. An error is permanent.
    async fn next_event(&mut self) -> Result<WatchEvent, Error> {
        loop {
            match self.step().await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(error) if error.is_transient() => {
                    let retry_in = self.interrupted(&error);
                    return Ok(WatchEvent::Interrupted { error, retry_in });
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects if necessary, and reads one frame. Returns `None` for a frame without an event.
    async fn step(&mut self) -> Result<Option<WatchEvent>, Error> {
        if let Some(at) = self.reconnect_at.take() {
            sleep_until(at).await;
        }
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let next = timeout(SILENCE, connection.next()).await;
        let endpoint = Arc::clone(&connection.route.endpoint);
        let error = match next {
            Ok(Some(Ok(frame))) => return self.read(frame, &endpoint),
            Ok(None) => endpoint.unreachable("the service closed the stream"),
            Err(_) => endpoint.timed_out(SILENCE),
            // Of the errors of reading, only a broken connection is transient. After any other one,
            // a new stream would contain the same unreadable event.
            Ok(Some(Err(ReadError::Broken(cause)))) => endpoint.unreachable(cause),
            Ok(Some(Err(error))) => endpoint.protocol(200, error.to_string()),
        };
        self.client.transport().failed(&connection.route, &error);
        Err(error)
    }

    async fn connect(&mut self) -> Result<Connection, Error> {
        let parameters = self.request.parameters();
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        let request = OutgoingRequest { headers, ..OutgoingRequest::get("watch", &parameters) };
        let (route, response) = self.client.transport().open(&request).await?;
        let content_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if !content_type.starts_with(b"text/event-stream") {
            return Err(route.endpoint.protocol(response.status().as_u16(), "no stream of events"));
        }
        Ok(Connection::new(route, response))
    }

    /// Reads a frame and moves the cursor past it.
    fn read(&mut self, frame: Sse, endpoint: &Endpoint) -> Result<Option<WatchEvent>, Error> {
        if let Some(millis) = frame.retry {
            self.requested_wait = Duration::from_millis(millis).min(HIGHEST_CEILING);
        }
        let data = frame.data.unwrap_or_default();
        let malformed = |error: serde_json::Error| endpoint.malformed(200, &error);
        let change = |kind| Change::from_data(kind, data.as_bytes()).map(WatchEvent::from);
        let event = match frame.event.as_deref() {
            Some("start") => {
                self.request.since = Some(serde_json::from_str::<Position>(&data).map_err(malformed)?.since);
                let resumes = std::mem::replace(&mut self.is_started, true);
                Some(if resumes { WatchEvent::Resumed } else { WatchEvent::Started })
            }
            Some("reset") => {
                self.request.since = Some(serde_json::from_str::<Position>(&data).map_err(malformed)?.since);
                self.is_started = true;
                Some(WatchEvent::Reset)
            }
            Some("joined") => Some(change(ChangeKind::Joined).map_err(malformed)?),
            Some("changed") => Some(change(ChangeKind::Changed).map_err(malformed)?),
            Some("left") => Some(change(ChangeKind::Left).map_err(malformed)?),
            // A comment, which only moves the cursor, or an event of a later version.
            _ => None,
        };
        if let Some(id) = frame.id.filter(|id| !id.is_empty()) {
            self.request.since = Some(id);
        }
        self.failures = 0;
        Ok(event)
    }

    /// Closes the connection after a failure. Returns the wait before the next one.
    fn interrupted(&mut self, error: &Error) -> Duration {
        self.connection = None;
        self.failures = self.failures.saturating_add(1);
        let requested = error.retry_after().unwrap_or(self.requested_wait).min(HIGHEST_CEILING);
        // The jitter on top spreads out clients that got the same `Retry-After`.
        let retry_in =
            requested + full_jitter(self.failures, FIRST_CEILING, HIGHEST_CEILING, fastrand::f64());
        tracing::debug!(%error, ?retry_in, "a watch was interrupted and will reconnect");
        self.reconnect_at = Some(Instant::now() + retry_in);
        retry_in
    }
}
