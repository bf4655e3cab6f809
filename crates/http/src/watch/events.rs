//! One stream of events, as far as its client reads it.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aurora_registry::{Taken, Watching};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::place::Place;
use super::{Watchers, frame};
use crate::metrics::Metrics;
use crate::pace::Streaming;

/// About how much is written at once: what a connection holds for a client that does not read.
const FRAME_BYTES: usize = 16 * 1024;
/// How long a stream rests after it has written: whatever comes meanwhile goes out together, so that a busy network costs a
/// watcher fifty wake-ups a second at most.
const REST: Duration = Duration::from_millis(20);

/// A body that has no end until the service stops. It holds a position and nothing that waits, so it costs the same whether its
/// client reads or not: what it writes is taken when the connection asks for more.
pub(crate) struct Events {
    watching: Watching,
    preface: Option<Vec<u8>>,
    /// Ends when the stream is to end.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    timer: Pin<Box<Sleep>>,
    resting: bool,
    keep_alive: Duration,
    metrics: Arc<Metrics>,
    connection: Option<Streaming>,
    _place: Place,
}

impl Events {
    pub(super) fn new(watching: Watching, place: Place, watchers: &Watchers) -> Self {
        let mut end = watchers.end.subscribe();
        let preface = frame::preface(&watching.cursor(), watching.is_fresh());
        watchers.metrics.watch_began(watching.is_fresh());
        Self {
            watching,
            preface: Some(preface),
            end: Some(Box::pin(async move {
                // Whoever could end it is gone otherwise, and nobody ever will.
                if end.wait_for(|end| *end).await.is_err() {
                    std::future::pending::<()>().await;
                }
            })),
            timer: Box::pin(sleep(watchers.options.keep_alive)),
            resting: false,
            keep_alive: watchers.options.keep_alive,
            metrics: watchers.metrics.clone(),
            connection: None,
            _place: place,
        }
    }

    /// Says on which connection it is sent.
    pub(crate) fn on(&mut self, connection: Streaming) {
        connection.moves(self.keep_alive);
        self.connection = Some(connection);
    }

    fn sleep(&mut self, duration: Duration) {
        self.timer.as_mut().reset(Instant::now() + duration);
    }

    /// The next of the stream, as soon as there is something.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        if let Some(preface) = self.preface.take() {
            return Poll::Ready(preface);
        }
        if self.resting {
            ready!(self.timer.as_mut().poll(context));
            self.resting = false;
            self.sleep(self.keep_alive);
        }
        loop {
            match self.watching.take(FRAME_BYTES) {
                Taken::Lost => {
                    self.metrics.watch_reset();
                    return Poll::Ready(frame::reset(&self.watching.cursor()));
                }
                Taken::Changes { changes, more } if !changes.is_empty() => {
                    self.metrics.watch_told(changes.len());
                    self.resting = !more;
                    self.sleep(if more { self.keep_alive } else { REST });
                    return Poll::Ready(frame::changes(&changes));
                }
                Taken::Changes { more: true, .. } => {
                    // It has looked at many and found none: others have their turn.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Taken::Changes { more: false, .. } => {}
            }
            if self.timer.as_mut().poll(context).is_ready() {
                self.sleep(self.keep_alive);
                return Poll::Ready(frame::keep_alive(&self.watching.cursor()));
            }
            ready!(self.watching.poll_news(context));
        }
    }
}

impl Body for Events {
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
        if let Some(connection) = &self.connection {
            connection.moves(self.keep_alive);
        }
        Poll::Ready(Some(Ok(Frame::data(frame.into()))))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.metrics.watch_ended(self.connection.as_ref().is_some_and(Streaming::is_overdue));
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
