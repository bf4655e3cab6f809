//! How long each side of a connection may take, kept without a timer per request.
//!
//! Reading and writing leave marks; one lazy timer per connection looks at them when the earliest deadline that they could mean is due.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::options::ServeOptions;

/// What a connection waits for.
const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BODY: u8 = 2;
const BUSY: u8 = 3;

/// No write is blocked.
const FLOWING: u64 = u64::MAX;

/// The bounds of one connection's waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

impl From<&ServeOptions> for Bounds {
    fn from(options: &ServeOptions) -> Self {
        Self {
            head: options.header_timeout,
            body: options.body_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
        }
    }
}

/// The marks of one connection. All its reading and writing happens in one task or is counted, so no order between them matters.
#[derive(Debug)]
pub(crate) struct Pace {
    opened: Instant,
    bounds: Bounds,
    phase: AtomicU8,
    /// When the phase began, in milliseconds since `opened`.
    since: AtomicU64,
    /// Since when a write is blocked, in milliseconds since `opened`, or [`FLOWING`].
    blocked_since: AtomicU64,
    /// Requests that are not done, streams included.
    requests: AtomicUsize,
    /// Streams of events among them.
    streams: AtomicUsize,
    multiplexed: AtomicBool,
    /// When a stream of events is taken for stalled unless it moves before, in milliseconds since `opened`, or [`FLOWING`].
    stalls_at: AtomicU64,
}

impl Pace {
    /// The pace of a connection that was just accepted and owes its first request.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            opened: Instant::now(),
            bounds,
            phase: AtomicU8::new(HEAD),
            since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(FLOWING),
            requests: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            multiplexed: AtomicBool::new(false),
            stalls_at: AtomicU64::new(FLOWING),
        }
    }

    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Marks a request whose head is here. On a multiplexed connection (HTTP/2) each request bounds its body itself.
    pub(crate) fn request(&self, multiplexed: bool, body_follows: bool) -> Visit<'_> {
        self.multiplexed.store(multiplexed, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        if body_follows && !multiplexed {
            self.enter(BODY);
        } else {
            self.phase.store(BUSY, Relaxed);
        }
        Visit(self)
    }

    /// When the connection is to be cut off if no mark changes until then; `None` while the service itself is at work.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let blocked_since = self.blocked_since.load(Relaxed);
        if blocked_since != FLOWING {
            return Some(self.at(blocked_since) + self.bounds.write);
        }
        let bound = match self.phase.load(Relaxed) {
            IDLE => self.bounds.idle,
            HEAD => self.bounds.head,
            BODY => self.bounds.body,
            _ => {
                let stalls_at = self.stalls_at.load(Relaxed);
                return (stalls_at != FLOWING).then(|| self.at(stalls_at));
            }
        };
        Some(self.at(self.since.load(Relaxed)) + bound)
    }

    /// Whether streams of events are all that the connection is still open for.
    pub(crate) fn only_streams(&self) -> bool {
        let streams = self.streams.load(Relaxed);
        streams > 0 && streams == self.requests.load(Relaxed)
    }

    /// Whether a stream of events waits for its client to read.
    pub(crate) fn is_stalled_stream(&self) -> bool {
        self.streams.load(Relaxed) > 0 && self.blocked_since.load(Relaxed) != FLOWING
    }

    fn leave(&self) {
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            self.enter(IDLE);
        }
    }

    fn bytes_came(&self) {
        // On a multiplexed connection bytes between requests are housekeeping, not the start of a head.
        if self.phase.load(Relaxed) == IDLE && !self.multiplexed.load(Relaxed) {
            self.enter(HEAD);
        }
    }

    fn write_blocked(&self) {
        if self.blocked_since.load(Relaxed) == FLOWING {
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    fn write_drained(&self) {
        if self.blocked_since.load(Relaxed) != FLOWING {
            self.blocked_since.store(FLOWING, Relaxed);
            // A slow reader has its whole idle time from here on.
            if self.phase.load(Relaxed) == IDLE {
                self.enter(IDLE);
            }
        }
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.now(), Relaxed);
        self.phase.store(phase, Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(FLOWING - 1)
    }

    fn at(&self, millis: u64) -> Instant {
        self.opened + Duration::from_millis(millis)
    }
}

/// One request of a connection, until its answer is ready.
pub(crate) struct Visit<'a>(&'a Pace);

impl Visit<'_> {
    /// Marks that the body is here, or will never be.
    pub(crate) fn body_read(&self) {
        self.0.phase.store(BUSY, Relaxed);
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A request whose answer is a stream of events, until that ends. It must move at least as often as it says: on HTTP/2 a client that
/// does not read blocks no write of the connection.
#[derive(Debug)]
pub(crate) struct Streaming(Arc<Pace>);

impl Streaming {
    /// A stream on a connection, begun while its request's visit lasts.
    pub(crate) fn new(pace: Arc<Pace>) -> Self {
        pace.requests.fetch_add(1, Relaxed);
        pace.streams.fetch_add(1, Relaxed);
        Self(pace)
    }

    /// Marks that something is written, and that more follows within `interval`.
    pub(crate) fn moves(&self, interval: Duration) {
        let wait = u64::try_from((interval + self.0.bounds.write).as_millis()).unwrap_or(FLOWING / 2);
        self.0.stalls_at.store(self.0.now().saturating_add(wait).min(FLOWING - 1), Relaxed);
    }

    /// Whether the connection is to be cut off.
    pub(crate) fn is_overdue(&self) -> bool {
        self.0.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // The others of the connection may be stalled all the same.
        if self.0.streams.fetch_sub(1, Relaxed) == 1 {
            self.0.stalls_at.store(FLOWING, Relaxed);
        }
        self.0.leave();
    }
}

/// A stream that leaves marks.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    pace: Arc<Pace>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, pace: Arc<Pace>) -> Self {
        Self { stream, pace }
    }

    fn mark<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.pace.write_blocked();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.mark(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.mark(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.pace.write_drained();
        }
        self.mark(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.mark(shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        head: Duration::from_secs(10),
        body: Duration::from_secs(20),
        idle: Duration::from_secs(70),
        write: Duration::from_secs(30),
    };

    fn left(pace: &Pace) -> Option<u64> {
        pace.deadline().map(|deadline| (deadline - Instant::now()).as_secs())
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_of_a_request_has_its_own_bound() {
        let pace = Pace::new(BOUNDS);
        pass(1).await;
        pace.bytes_came();
        assert_eq!(left(&pace), Some(9), "bytes don't prolong the first head");
        let visit = pace.request(false, true);
        assert_eq!(left(&pace), Some(20));
        pass(5).await;
        pace.bytes_came();
        assert_eq!(left(&pace), Some(15), "bytes don't prolong a body");
        visit.body_read();
        assert_eq!(left(&pace), None, "the service is at work");
        drop(visit);
        assert_eq!(left(&pace), Some(70));
        pass(60).await;
        pace.bytes_came();
        assert_eq!(left(&pace), Some(10), "a head has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_has_to_read_all_that_waits_in_one_bound() {
        let pace = Pace::new(BOUNDS);
        drop(pace.request(false, false));
        pace.write_blocked();
        pass(10).await;
        pace.write_blocked();
        assert_eq!(left(&pace), Some(20));
        pace.write_drained();
        assert_eq!(left(&pace), Some(70));
    }

    #[tokio::test(start_paused = true)]
    async fn a_multiplexed_connection_is_idle_when_none_of_its_requests_is_left() {
        let pace = Pace::new(BOUNDS);
        let (one, other) = (pace.request(true, true), pace.request(true, false));
        drop(one);
        assert_eq!(left(&pace), None);
        drop(other);
        pace.bytes_came();
        assert_eq!(left(&pace), Some(70), "housekeeping is no head");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_leaves_the_others_their_bound() {
        let pace = Arc::new(Pace::new(BOUNDS));
        let visit = pace.request(true, false);
        let streams = [(); 2].map(|()| Streaming::new(pace.clone()));
        assert!(!pace.only_streams(), "a request is under way");
        drop(visit);
        assert!(pace.only_streams());
        streams.iter().for_each(|stream| stream.moves(Duration::from_secs(15)));
        assert_eq!(left(&pace), Some(45));
        let [one, other] = streams;
        pass(5).await;
        drop(one);
        assert_eq!((left(&pace), pace.only_streams()), (Some(40), true));
        drop(other);
        assert_eq!((left(&pace), pace.only_streams()), (Some(70), false));
    }
}
