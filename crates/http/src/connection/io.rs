//! I/O that reports its progress to the state of the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;

use super::head_counter::HeadCounter;
use super::state::ConnectionState;

/// How much of its budget a task spends on the head of an HTTP/2 request. The runtime gives a task
/// a budget of 128 each time it runs, so other tasks run after four heads. With header compression,
/// a head can repeat a header thousands of times, and then takes as long to decode as a hundred
/// usual requests.
const HEAD_COST: usize = 32;

/// An I/O stream that records reads and writes in the state of its connection.
#[derive(Debug)]
pub(crate) struct MonitoredIo<S> {
    stream: S,
    state: Arc<ConnectionState>,
    heads: HeadCounter,
}

impl<S> MonitoredIo<S> {
    pub(crate) fn new(stream: S, state: Arc<ConnectionState>) -> Self {
        Self { stream, state, heads: HeadCounter::default() }
    }

    fn record_if_blocked<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            self.state.write_blocked();
        }
        polled
    }

    fn record_write(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Pending => self.state.write_blocked(),
            Poll::Ready(Ok(length)) => self.state.bytes_written(*length),
            Poll::Ready(Err(_)) => {}
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MonitoredIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Checks the budget of the task. A socket does so itself, but a TLS stream can return data
        // that it has buffered without asking the socket.
        let budget = ready!(poll_proceed(context));
        // Counts only reads with data. At the end of the stream, a read completes without data.
        let before = buffer.filled().len();
        let this = &mut *self;
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if polled.is_ready() {
            budget.made_progress();
        }
        let received = &buffer.filled()[before..];
        if !received.is_empty() {
            this.state.bytes_received(received.len());
            let heads = this.heads.count(received);
            this.state.heads_received(heads);
            spend_budget(heads * HEAD_COST, context);
            // Ends the connection at once. Otherwise the library would first decode all heads that
            // have arrived.
            if this.state.has_too_many_refused_heads() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        polled
    }
}

/// Spends up to `units` of the task's budget. When none is left, the runtime runs the task again
/// after the others.
fn spend_budget(units: usize, context: &mut Context<'_>) {
    for _ in 0..units {
        let Poll::Ready(unit) = poll_proceed(context) else { return };
        unit.made_progress();
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MonitoredIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.record_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.record_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // Only a completed flush shows that no written data is left in buffers above the socket.
        if flushed.is_ready() {
            self.state.write_drained();
        }
        self.record_if_blocked(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.record_if_blocked(shut)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::task::coop::has_budget_remaining;

    use super::super::head_counter::PREFACE;
    use super::super::state::Timeouts;
    use super::*;
    use crate::options::ServerOptions;

    /// How many of `heads` heads a task reads, each with one read, before it must let other tasks
    /// run.
    async fn reads_at_once(heads: u8) -> usize {
        let empty_heads = (1..=heads).map(|head| [0, 0, 0, 1, 0, 0, 0, 0, 2 * head - 1]);
        let bytes = [PREFACE.to_vec(), empty_heads.flatten().collect()].concat();
        let state = ConnectionState::new(Timeouts::from(&ServerOptions::default()));
        let mut io = MonitoredIo::new(&bytes[..], Arc::new(state));
        let mut read = async |length: usize| {
            let mut bytes = vec![0; length];
            let mut buffer = ReadBuf::new(&mut bytes);
            poll_fn(|context| Poll::Ready(Pin::new(&mut io).poll_read(context, &mut buffer).is_ready())).await
        };
        assert!(read(PREFACE.len()).await);
        let mut reads = 0;
        while has_budget_remaining() && read(9).await {
            reads += 1;
        }
        reads
    }

    #[tokio::test]
    async fn a_task_that_reads_heads_lets_others_run_after_a_few() {
        assert_eq!(tokio::spawn(reads_at_once(100)).await.unwrap(), 4);
    }
}
