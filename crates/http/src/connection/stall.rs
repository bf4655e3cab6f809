//! Ends an HTTP/2 stream whose client does not read it, and leaves the others of the connection
//! alone.
//!
//! hyper runs each stream as a task, and asks a body for more data only when the client has read
//! the previous data. At the start, and each time the client has read enough, the body announces
//! the time at which the stream will count as stalled. If the body does not announce a later time
//! before then, the task ends, and hyper resets the stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep_until};

tokio::task_local! {
    /// When the stream of the current task counts as stalled.
    static STALLS_AT: Cell<Option<Instant>>;
}

/// Announces that the stream of the current task counts as stalled after `time`, unless this
/// function is called again before. On HTTP/1 this has no effect: there, a client that does not
/// read blocks the writes of its connection.
pub(super) fn stalls_after(time: Duration) {
    let _ = STALLS_AT.try_with(|stalls_at| stalls_at.set(Some(Instant::now() + time)));
}

/// Runs the streams of HTTP/2 connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(STALLS_AT.scope(Cell::new(None), until_stalled(stream)));
    }
}

/// Runs a stream until it ends or counts as stalled.
async fn until_stalled(stream: impl Future) {
    let mut stream = pin!(stream);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(stalls_at) = STALLS_AT.with(Cell::get) else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(stalls_at)));
        // A deadline that moves to a later time costs no timer operation until the timer fires.
        while timer.deadline() < stalls_at {
            ready!(timer.as_mut().poll(context));
            timer.as_mut().reset(stalls_at);
        }
        timer.as_mut().poll(context)
    })
    .await;
}
