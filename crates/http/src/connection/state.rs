//! Tracks what a connection is waiting for, and when it has waited too long.
//!
//! Neither hyper nor tower-http limits the time for a whole body, the time of an idle connection,
//! or the time that a client takes to read: hyper has a timeout only for the head of an HTTP/1
//! request. A timer for each request would take more processor time than handling a heartbeat.
//!
//! Therefore one timer serves all phases of a connection. Reads and writes only record what they
//! did in a few atomics, the *marks* of the connection. After each poll, the connection computes
//! its deadline from the marks, and moves the timer only if the deadline is earlier than the timer.
//! Each request moves the deadline to a later time, which costs no timer operation. If the timer
//! then fires before the deadline, it is set again, so no deadline is missed.
//!
//! On HTTP/2, where a connection carries many requests, the modules `body` and `stall` add timers
//! for single bodies and streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::stall::stalls_after;
use super::unread::Unread;
use crate::options::ServerOptions;
use crate::shutdown::Stage;

/// The phases of a connection: it waits for the next request, for the rest of a request's head, for
/// the rest of a body, or for the service.
const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BODY: u8 = 2;
const BUSY: u8 = 3;

/// The value of a time that is not set.
pub(super) const NEVER: u64 = u64::MAX;

/// The slowest rate at which a client may read, averaged over the write timeout. A slow mobile
/// network is eight times as fast. A client that reads at this rate can hold a page of a megabyte
/// for about four minutes.
const MIN_READ_BYTES_PER_MILLISECOND: u128 = 4;

/// The maximum number of bytes that a client may send without effect. The count starts again when a
/// request reaches the service, when a part of a body is read, or when an event stream makes
/// progress. Without this limit, an HTTP/2 client could make the service read control frames, such
/// as PING, without end. The limit is several times the flow-control window of a connection, so
/// bodies that arrive before the service reads them do not exceed it.
const MAX_IDLE_BYTES: usize = 1024 * 1024;

/// The maximum number of requests on one HTTP/2 connection that the library may refuse by itself
/// without passing them to the service. It is above a hundred, because clients may begin that many
/// requests before they learn how many may be in progress at once.
const MAX_REFUSED_HEADS: usize = 128;

/// Receiving this many bytes that belong to no request costs the service about as much as a new
/// connection.
const IDLE_BYTES_PER_CONNECTION: usize = 4 * 1024;

/// How long a connection may wait in each phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

impl Timeouts {
    /// The number of bytes that a client must read within each write timeout.
    fn write_quota(&self) -> u64 {
        u64::try_from(self.write.as_millis() * MIN_READ_BYTES_PER_MILLISECOND).unwrap_or(u64::MAX)
    }
}

impl From<&ServerOptions> for Timeouts {
    fn from(options: &ServerOptions) -> Self {
        Self {
            head: options.header_timeout,
            body: options.body_timeout,
            idle: options.idle_timeout,
            write: options.write_timeout,
        }
    }
}

/// The marks of one connection. Several tasks write them: the task of the connection, and on HTTP/2
/// the task of each stream. Relaxed atomics suffice, because no other data depends on the marks. A
/// mark that is read slightly too early only makes a timeout inexact.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    opened: Instant,
    timeouts: Timeouts,
    phase: AtomicU8,
    /// When the phase began, in milliseconds since `opened`.
    since: AtomicU64,
    /// When the current write became blocked, or when the client last met its read quota after
    /// that, in milliseconds since `opened`. [`NEVER`] if no write is blocked.
    blocked_since: AtomicU64,
    /// What the client has read since `blocked_since`.
    read: ReadQuota,
    /// Large responses that the client has not read yet, on a multiplexed connection.
    unread: Unread,
    /// The number of bytes received since a request reached the service, a part of a body was read,
    /// or an event stream made progress.
    idle_bytes: AtomicUsize,
    /// The number of requests on HTTP/2 whose head has begun to arrive but that have not reached
    /// the service. If there are many, the library has refused most of them by itself.
    unanswered_heads: AtomicUsize,
    /// The number of bodies on HTTP/2 that the service is waiting for.
    awaited_bodies: AtomicUsize,
    /// The number of requests in progress, streams included.
    requests: AtomicUsize,
    /// The number of those requests that are event streams.
    streams: AtomicUsize,
    multiplexed: AtomicBool,
    /// Whether the client speaks TLS to a plain port, or the reverse.
    wrong_protocol: AtomicBool,
    /// The number of reads that returned data. It wraps around.
    reads: AtomicU32,
}

impl ConnectionState {
    /// The state of a connection that was just accepted and has not sent a request yet.
    pub(crate) fn new(timeouts: Timeouts) -> Self {
        Self {
            opened: Instant::now(),
            timeouts,
            phase: AtomicU8::new(HEAD),
            since: AtomicU64::new(0),
            blocked_since: AtomicU64::new(NEVER),
            read: ReadQuota::default(),
            unread: Unread::default(),
            idle_bytes: AtomicUsize::new(0),
            unanswered_heads: AtomicUsize::new(0),
            awaited_bodies: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            multiplexed: AtomicBool::new(false),
            wrong_protocol: AtomicBool::new(false),
            reads: AtomicU32::new(0),
        }
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Records that the head of a request has arrived. On a multiplexed connection (HTTP/2), each
    /// body enforces its own time limit.
    pub(crate) fn begin_request(&self, multiplexed: bool, body_follows: bool) -> RequestGuard<'_> {
        self.multiplexed.store(multiplexed, Relaxed);
        self.bytes_used();
        self.requests.fetch_add(1, Relaxed);
        if multiplexed {
            // The subtraction saturates, because in tests no bytes arrive before a request.
            let rest = |heads: usize| Some(heads.saturating_sub(1));
            let _ = self.unanswered_heads.fetch_update(Relaxed, Relaxed, rest);
        }
        // Without a body, or on HTTP/2, the connection now waits for the service, which has its own
        // limits.
        if body_follows && !multiplexed {
            self.enter(BODY);
        } else {
            self.phase.store(BUSY, Relaxed);
        }
        RequestGuard(self)
    }

    /// The deadline at which the connection is closed if no mark changes first. `None` while the
    /// connection waits for the service itself, or if only unread responses on HTTP/2 are left,
    /// which have time limits of their own.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.idle_bytes.load(Relaxed) > MAX_IDLE_BYTES {
            // This deadline has passed, so the connection ends now.
            return Some(self.opened);
        }
        // A blocked write takes precedence: no response can proceed until the client reads.
        let mut blocked_since = self.blocked_since.load(Relaxed);
        if self.is_multiplexed() {
            blocked_since = blocked_since.min(self.unread.last_pieces_blocked_since());
        }
        if blocked_since != NEVER {
            return Some(self.at(blocked_since) + self.timeouts.write);
        }
        let bound = match self.phase.load(Relaxed) {
            // Each unread response has a time limit of its own.
            IDLE if self.is_multiplexed() && !self.unread.is_empty() => return None,
            IDLE => self.timeouts.idle,
            HEAD => self.timeouts.head,
            BODY => self.timeouts.body,
            _ => return None,
        };
        Some(self.at(self.since.load(Relaxed)) + bound)
    }

    /// Whether a request is in progress or its response is unread, and since when the connection
    /// has been waiting for its client. `None` while it waits for the service itself.
    pub(crate) fn waiting_since(&self) -> Option<(bool, Instant)> {
        let blocked_since = self.blocked_since();
        if blocked_since != NEVER {
            return Some((true, self.at(blocked_since)));
        }
        let phase = self.phase.load(Relaxed);
        // On HTTP/2, the connection waits for its client if every request in progress still waits
        // for its body.
        let awaited = self.awaited_bodies.load(Relaxed);
        let waits_for_bodies = awaited > 0 && awaited == self.requests.load(Relaxed);
        (phase != BUSY || waits_for_bodies)
            .then(|| (phase != IDLE && phase != HEAD, self.at(self.since.load(Relaxed))))
    }

    /// Whether the connection carries several requests at once (HTTP/2).
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }

    pub(super) fn unread(&self) -> &Unread {
        &self.unread
    }

    /// Whether the connection may be asked to close at `stage`. A client that has begun to send a
    /// request on HTTP/1 gets the response first.
    pub(crate) fn may_close(&self, stage: Stage) -> bool {
        match stage {
            Stage::Serving => false,
            Stage::Draining => self.multiplexed.load(Relaxed),
            Stage::Stopping => self.multiplexed.load(Relaxed) || self.phase.load(Relaxed) == IDLE,
        }
    }

    /// Whether the service has nothing to do on the connection: no handler runs, and no write waits
    /// for the client, unless an event stream is open.
    pub(crate) fn is_done(&self) -> bool {
        let streams = self.streams.load(Relaxed);
        streams == self.requests.load(Relaxed) && (streams > 0 || self.blocked_since.load(Relaxed) == NEVER)
    }

    /// Records that the client speaks TLS to a plain port, or the reverse.
    pub(super) fn speaks_wrong_protocol(&self) {
        self.wrong_protocol.store(true, Relaxed);
    }

    /// Whether the client speaks TLS to a plain port, or the reverse.
    pub(super) fn has_wrong_protocol(&self) -> bool {
        self.wrong_protocol.load(Relaxed)
    }

    /// A number that changes whenever the client sends something.
    pub(crate) fn reads(&self) -> u32 {
        self.reads.load(Relaxed)
    }

    /// Whether an event stream is open while a write waits for the client to read.
    pub(crate) fn has_stalled_stream(&self) -> bool {
        self.streams.load(Relaxed) > 0 && self.blocked_since.load(Relaxed) != NEVER
    }

    /// Records that what was received so far belongs to a request or an event stream.
    pub(super) fn bytes_used(&self) {
        self.idle_bytes.store(0, Relaxed);
    }

    /// Records that the service begins to wait for a body on HTTP/2, or no longer waits for it.
    pub(super) fn body_awaited(&self, is_awaited: bool) {
        if is_awaited {
            self.since.store(self.now(), Relaxed);
            self.awaited_bodies.fetch_add(1, Relaxed);
        } else {
            self.awaited_bodies.fetch_sub(1, Relaxed);
        }
    }

    /// Records that a request's body has arrived, or that the service no longer waits for it.
    pub(super) fn body_received(&self) {
        self.phase.store(BUSY, Relaxed);
    }

    fn leave(&self) {
        // The idle time starts when the last request ends.
        if self.requests.fetch_sub(1, Relaxed) == 1 {
            self.enter(IDLE);
        }
    }

    /// Records that data was read.
    pub(super) fn bytes_received(&self, count: usize) {
        self.idle_bytes.fetch_add(count, Relaxed);
        self.reads.store(self.reads.load(Relaxed).wrapping_add(1), Relaxed);
        // On a multiplexed connection, bytes between requests may be control frames, which do not
        // start a head.
        if self.phase.load(Relaxed) == IDLE && !self.multiplexed.load(Relaxed) {
            self.enter(HEAD);
        }
    }

    /// Records that requests have begun on HTTP/2.
    pub(super) fn heads_received(&self, count: usize) {
        if count > 0 {
            self.unanswered_heads.fetch_add(count, Relaxed);
        }
    }

    /// Whether the library has refused so many requests by itself that the connection must end.
    pub(super) fn has_too_many_refused_heads(&self) -> bool {
        self.unanswered_heads.load(Relaxed) > MAX_REFUSED_HEADS
    }

    /// What the connection has cost the service apart from the requests that reached it: requests
    /// that the library refused, and bytes that belong to no request. The unit is the cost of a new
    /// connection.
    pub(crate) fn waste(&self) -> usize {
        self.unanswered_heads.load(Relaxed) + self.idle_bytes.load(Relaxed) / IDLE_BYTES_PER_CONNECTION
    }

    /// Records that a write has to wait for the client.
    pub(super) fn write_blocked(&self) {
        if self.blocked_since.load(Relaxed) == NEVER {
            self.read.reset();
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    /// Records that the system has accepted `length` bytes. The system's buffer is small, so the
    /// client has read about as much.
    pub(super) fn bytes_written(&self, length: usize) {
        if self.blocked_since.load(Relaxed) != NEVER && self.read.is_met(length, &self.timeouts) {
            self.blocked_since.store(self.now(), Relaxed);
        }
    }

    /// Records that no response in `unread` is left.
    pub(super) fn all_read(&self) {
        // The idle time of a slow reader starts now.
        self.since.store(self.now(), Relaxed);
    }

    /// Since when the client has not met its read quota, in milliseconds since `opened`. [`NEVER`]
    /// if no response waits for the client.
    fn blocked_since(&self) -> u64 {
        let blocked_since = self.blocked_since.load(Relaxed);
        if self.is_multiplexed() { blocked_since.min(self.unread.blocked_since()) } else { blocked_since }
    }

    /// Records that all written data was passed to the socket.
    pub(super) fn write_drained(&self) {
        if self.blocked_since.load(Relaxed) != NEVER {
            self.blocked_since.store(NEVER, Relaxed);
            // The idle time of a slow reader starts now.
            if self.phase.load(Relaxed) == IDLE {
                self.enter(IDLE);
            }
        }
    }

    fn enter(&self, phase: u8) {
        self.since.store(self.now(), Relaxed);
        self.phase.store(phase, Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(NEVER - 1)
    }

    fn at(&self, millis: u64) -> Instant {
        self.opened + Duration::from_millis(millis)
    }
}

/// Counts the bytes that a client reads, up to the quota that it must read within a write timeout.
#[derive(Debug, Default)]
pub(super) struct ReadQuota(AtomicU64);

impl ReadQuota {
    pub(super) fn reset(&self) {
        self.0.store(0, Relaxed);
    }

    /// Counts `length` more bytes. Returns whether the quota is now met. If so, the count starts
    /// again at zero.
    pub(super) fn is_met(&self, length: usize, timeouts: &Timeouts) -> bool {
        let length = length as u64;
        let met = self.0.fetch_add(length, Relaxed).saturating_add(length) >= timeouts.write_quota();
        if met {
            self.reset();
        }
        met
    }
}

/// A request in progress, until its response is ready.
pub(crate) struct RequestGuard<'a>(&'a ConnectionState);

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A request whose response is an event stream, until that stream ends. The stream must make
/// progress within each interval that it announces. On HTTP/2, missing progress is the only sign
/// that the client does not read the stream, because an unread stream blocks no write of the
/// connection.
#[derive(Debug)]
pub(crate) struct StreamGuard {
    state: Arc<ConnectionState>,
    /// When the stream counts as stalled unless it makes progress first, in milliseconds since the
    /// connection was opened.
    stalls_at: AtomicU64,
}

impl StreamGuard {
    /// A stream on a connection. It must be created while the guard of its request exists, because
    /// the connection would otherwise become idle in between.
    pub(crate) fn new(state: Arc<ConnectionState>) -> Self {
        state.requests.fetch_add(1, Relaxed);
        state.streams.fetch_add(1, Relaxed);
        Self { state, stalls_at: AtomicU64::new(NEVER) }
    }

    /// Records that the stream wrote data, and will write again within `interval`.
    pub(crate) fn progress(&self, interval: Duration) {
        self.state.bytes_used();
        // The next keep-alive is due after `interval`. From then on, the client has the write
        // timeout to read. If the connection has not asked the stream for data by the end of that
        // time, the stream is stalled.
        let wait = interval + self.state.timeouts.write;
        stalls_after(wait);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(NEVER / 2);
        self.stalls_at.store(self.state.now().saturating_add(millis), Relaxed);
    }

    /// Whether the stream is stalled, or its connection must be closed.
    pub(crate) fn is_overdue(&self) -> bool {
        self.stalls_at.load(Relaxed) <= self.state.now()
            || self.state.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.state.streams.fetch_sub(1, Relaxed);
        self.state.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(10),
        body: Duration::from_secs(20),
        idle: Duration::from_secs(70),
        write: Duration::from_secs(30),
    };

    fn left(state: &ConnectionState) -> Option<u64> {
        state.deadline().map(|deadline| (deadline - Instant::now()).as_secs())
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_of_a_request_has_its_own_timeout() {
        let state = ConnectionState::new(TIMEOUTS);
        pass(1).await;
        state.bytes_received(1);
        assert_eq!(left(&state), Some(9), "bytes don't extend the timeout of the head");
        let request = state.begin_request(false, true);
        assert_eq!(left(&state), Some(20));
        pass(5).await;
        state.bytes_received(1);
        assert_eq!(left(&state), Some(15), "bytes don't extend the timeout of a body");
        state.body_received();
        assert_eq!(left(&state), None, "the connection waits for the service");
        drop(request);
        assert_eq!(left(&state), Some(70));
        pass(60).await;
        state.bytes_received(1);
        assert_eq!(left(&state), Some(10), "a head has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn only_reading_at_the_minimum_rate_extends_the_write_timeout() {
        let state = ConnectionState::new(TIMEOUTS);
        drop(state.begin_request(false, false));
        state.bytes_written(1 << 20);
        state.write_blocked();
        pass(10).await;
        state.bytes_written(119_999);
        state.write_blocked();
        assert_eq!(left(&state), Some(20));
        state.bytes_written(1);
        assert_eq!(left(&state), Some(30));
        pass(5).await;
        state.bytes_written(119_999);
        assert_eq!(left(&state), Some(25), "what was read before counts once");
        state.write_drained();
        assert_eq!(left(&state), Some(70));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_without_a_request_end_a_connection() {
        let state = ConnectionState::new(TIMEOUTS);
        state.bytes_received(MAX_IDLE_BYTES);
        assert_eq!(left(&state), Some(10));
        drop(state.begin_request(true, false));
        state.bytes_received(MAX_IDLE_BYTES);
        assert_eq!(left(&state), Some(70), "a request resets the count of bytes");
        pass(1).await;
        state.bytes_received(1);
        assert!(state.deadline().is_some_and(|deadline| deadline <= Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_multiplexed_connection_is_idle_after_its_last_request() {
        let state = ConnectionState::new(TIMEOUTS);
        let (one, other) = (state.begin_request(true, true), state.begin_request(true, false));
        drop(one);
        assert_eq!(left(&state), None);
        drop(other);
        state.bytes_received(1);
        assert_eq!(left(&state), Some(70), "control frames do not start a head");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_keep_a_connection_open_and_stall_one_by_one() {
        let state = Arc::new(ConnectionState::new(TIMEOUTS));
        let request = state.begin_request(true, false);
        let streams = [(); 2].map(|()| StreamGuard::new(state.clone()));
        assert!(!state.is_done(), "a request is in progress");
        drop(request);
        assert!(state.is_done());
        streams.iter().for_each(|stream| stream.progress(Duration::from_secs(15)));
        let [one, other] = streams;
        pass(44).await;
        other.progress(Duration::from_secs(15));
        assert!(!one.is_overdue());
        pass(1).await;
        assert!(one.is_overdue() && !other.is_overdue());
        drop(one);
        assert_eq!((left(&state), state.is_done()), (None, true));
        drop(other);
        assert_eq!((left(&state), state.is_done()), (Some(70), true));
    }
}
