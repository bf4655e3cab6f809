//! The body of a request on a connection, with a time limit for its arrival.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::state::ConnectionState;
use crate::body::BodyTimeout;

/// A body that reports when the connection no longer waits for it. On HTTP/1, the connection's
/// state enforces the time limit. On HTTP/2, the body enforces it itself, because a connection that
/// carries many requests must not be closed for one of them. tower-http's `RequestBodyTimeoutLayer`
/// would restart the limit with each piece of the body.
pub(super) struct TimedBody {
    incoming: Incoming,
    state: Arc<ConnectionState>,
    multiplexed: bool,
    timeout: Option<Pin<Box<Sleep>>>,
}

impl TimedBody {
    pub(super) fn new(incoming: Incoming, state: Arc<ConnectionState>, multiplexed: bool) -> Self {
        Self { incoming, state, multiplexed, timeout: None }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.incoming).poll_frame(context);
        // The timer starts when the service first waits for the body, and is never restarted.
        if frame.is_pending() && this.multiplexed {
            let limit = this.state.timeouts().body;
            let timeout = this.timeout.get_or_insert_with(|| {
                this.state.body_awaited(true);
                Box::pin(sleep(limit))
            });
            if timeout.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Err(BodyTimeout.into())));
            }
        }
        if frame.is_ready() {
            this.state.bytes_used();
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if self.timeout.is_some() {
            self.state.body_awaited(false);
        }
        self.state.body_received();
    }
}
