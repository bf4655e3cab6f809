//! One stream of server-sent events, written as fast as its client reads.
//!
//! axum's `Sse` is not suitable: it sends one event per frame, and its keep-alive is a fixed text,
//! while ours advances the cursor.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aurora_discovery_registry::{WatchRead, Watcher};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::budget::{OverBudget, StreamBudget};
use super::frame;
use crate::budget::Share;
use crate::connection::state::StreamGuard;
use crate::metrics::Metrics;

/// The approximate maximum size of a frame, in bytes. A connection holds this much for a client
/// that does not read.
pub(super) const FRAME_BYTES: usize = 16 * 1024;
/// How long a stream pauses after it has sent all changes. Changes in the meantime are sent
/// together, so a busy network wakes a watcher at most fifty times a second.
const PAUSE: Duration = Duration::from_millis(20);

/// The body of a `/watch` response. It ends by itself only when the service stops, or when it has
/// been behind for too long because all streams together exceed their budget. It holds a position
/// instead of a queue, so a client that does not read costs no additional memory: the stream takes
/// changes from the change log when the connection asks for more data.
pub(crate) struct EventStream {
    watching: Watcher,
    /// The first frame, until it is sent.
    preface: Option<Vec<u8>>,
    /// Ready when the stream is to end. `None` after the last frame.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Ends the current pause, or the time until the next keep-alive comment.
    timer: Pin<Box<Sleep>>,
    /// Whether the stream reads no changes until the timer fires.
    pausing: bool,
    keep_alive: Duration,
    budget: StreamBudget,
    metrics: Arc<Metrics>,
    connection: Option<StreamGuard>,
    is_observer: bool,
    _permit: Share,
}

impl EventStream {
    pub(super) fn new(
        watching: Watcher,
        permit: Share,
        keep_alive: Duration,
        budget: StreamBudget,
        end: impl Future<Output = ()> + Send + 'static,
        metrics: Arc<Metrics>,
        connection: Option<StreamGuard>,
    ) -> Self {
        let fresh = watching.was_reset();
        metrics.watch_streams.inc();
        metrics.watch_begun.inc();
        if fresh {
            metrics.watch_resets.inc();
        }
        if let Some(connection) = &connection {
            connection.progress(keep_alive);
        }
        Self {
            preface: Some(frame::preface(&watching.cursor(), fresh)),
            watching,
            end: Some(Box::pin(end)),
            timer: Box::pin(sleep(keep_alive)),
            pausing: false,
            keep_alive,
            budget,
            metrics,
            connection,
            is_observer: false,
            _permit: permit,
        }
    }

    /// Marks the stream as that of an observer, a client that is not part of the network.
    /// `/network` does not count it as a client that follows changes.
    pub(crate) fn for_observer(mut self) -> Self {
        self.metrics.watch_observers.inc();
        self.metrics.watch_observers_begun.inc();
        self.is_observer = true;
        self
    }

    fn sleep(&mut self, duration: Duration) {
        self.timer.as_mut().reset(Instant::now() + duration);
    }

    /// The next frame of the stream, once there is one.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        if let Some(preface) = self.preface.take() {
            // A stream that starts at the end of the change log is not behind.
            if self.watching.poll_changes(context).is_pending() {
                self.budget.caught_up();
            }
            return Poll::Ready(preface);
        }
        // Repeats until there is a frame. The loop starts over after a pause, and after a read that
        // found no matching change.
        loop {
            if self.pausing {
                ready!(self.timer.as_mut().poll(context));
                self.pausing = false;
                self.sleep(self.keep_alive);
            }
            if self.watching.poll_changes(context).is_pending() {
                // Nothing to send: the change log or the timer wakes the task.
                self.budget.caught_up();
                ready!(self.timer.as_mut().poll(context));
                self.sleep(self.keep_alive);
                return Poll::Ready(frame::keep_alive(&self.watching.cursor()));
            }
            match self.budget.may_read() {
                Ok(()) => {}
                Err(OverBudget::Wait(wait)) => {
                    self.pausing = true;
                    self.sleep(wait);
                    continue;
                }
                Err(OverBudget::Leave) => return Poll::Ready(self.leave()),
            }
            match self.watching.read(FRAME_BYTES) {
                WatchRead::Lagged => {
                    self.metrics.watch_resets.inc();
                    return Poll::Ready(frame::reset(&self.watching.cursor()));
                }
                WatchRead::Changes { changes, more } if !changes.is_empty() => {
                    self.metrics.watch_events.inc_by(changes.len() as u64);
                    // If the change log has more, the next frame follows at once.
                    self.pausing = !more;
                    self.sleep(if more { self.keep_alive } else { PAUSE });
                    let frame = frame::changes(&changes);
                    self.budget.charge(frame.len());
                    if !more {
                        self.budget.caught_up();
                    }
                    return Poll::Ready(frame);
                }
                WatchRead::Changes { more: true, .. } => {
                    // The stream has looked at many changes and found none that match, so it yields
                    // to other tasks.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                WatchRead::Changes { more: false, .. } => self.budget.caught_up(),
            }
        }
    }

    /// The last frame, after which the stream ends.
    fn leave(&mut self) -> Vec<u8> {
        self.metrics.watch_sent_away.inc();
        self.end = None;
        frame::reconnect_later(&self.watching.cursor())
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        if end.as_mut().poll(context).is_ready() {
            self.end = None;
            return Poll::Ready(None);
        }
        let frame = ready!(self.next(context));
        // The connection has taken the previous frame, so its client reads.
        if let Some(connection) = &self.connection {
            connection.progress(self.keep_alive);
        }
        Poll::Ready(Some(Ok(Frame::data(frame.into()))))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.metrics.watch_streams.dec();
        if self.is_observer {
            self.metrics.watch_observers.dec();
        }
        if self.connection.as_ref().is_some_and(StreamGuard::is_overdue) {
            self.metrics.watch_cut_off.inc();
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}
