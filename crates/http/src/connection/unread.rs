//! Large responses on a multiplexed connection, until the client has read them.
//!
//! On HTTP/2 a client can leave a response unread without blocking a write of the connection: it
//! grants no window to the stream, and continues with other streams. hyper polls a body only when
//! the flow-control window has room for the previous piece. Each poll therefore shows that the
//! client reads. The body reports this progress, and a stream that makes too little progress is
//! reset.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::stall::stalls_after;
use super::state::{ConnectionState, NEVER, ReadQuota};

/// The maximum length of a piece of the body that the connection takes at once. The connection may
/// hold one such piece while the client does not read.
const PIECE_BYTES: usize = 32 * 1024;

/// The unread responses of one connection.
#[derive(Debug, Default)]
pub(super) struct Unread(Mutex<Vec<Arc<Progress>>>);

impl Unread {
    /// Since when the client has not met its read quota on some response, in milliseconds since the
    /// connection was opened. [`NEVER`] if there is no unread response.
    pub(super) fn blocked_since(&self) -> u64 {
        self.0.lock().iter().map(|progress| progress.since.load(Relaxed)).min().unwrap_or(NEVER)
    }

    /// The same, but only for responses whose last piece the library has taken. Their streams can't
    /// be reset any more, so only the end of the connection frees what is left of them.
    pub(super) fn last_pieces_blocked_since(&self) -> u64 {
        let unread = self.0.lock();
        let last = unread.iter().filter(|progress| progress.is_taken.load(Relaxed));
        last.map(|progress| progress.since.load(Relaxed)).min().unwrap_or(NEVER)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// What a client has read of one response.
#[derive(Debug)]
struct Progress {
    /// When the response began, or when the client had last read its quota, in milliseconds since
    /// the connection was opened.
    since: AtomicU64,
    quota: ReadQuota,
    /// Whether the library has taken all pieces of the response.
    is_taken: AtomicBool,
}

/// A response that counts as unread until this guard is dropped. The bytes of the response own the
/// guard, and the connection drops them when it has sent them.
#[derive(Debug)]
pub(crate) struct UnreadGuard {
    state: Arc<ConnectionState>,
    progress: Arc<Progress>,
}

impl UnreadGuard {
    pub(crate) fn new(state: Arc<ConnectionState>) -> Self {
        let since = AtomicU64::new(state.now());
        let progress =
            Arc::new(Progress { since, quota: ReadQuota::default(), is_taken: AtomicBool::new(false) });
        stalls_after(state.timeouts().write);
        state.unread().0.lock().push(progress.clone());
        Self { state, progress }
    }

    /// The body of the response, still empty. The caller moves this guard into the bytes of the
    /// response, and then adds the bytes to the body by [`UnreadBody::with`].
    pub(crate) fn body(&self) -> UnreadBody {
        UnreadBody { rest: Bytes::new(), progress: self.progress.clone(), state: self.state.clone() }
    }
}

impl Drop for UnreadGuard {
    fn drop(&mut self) {
        let mut unread = self.state.unread().0.lock();
        unread.retain(|progress| !Arc::ptr_eq(progress, &self.progress));
        if unread.is_empty() {
            self.state.all_read();
        }
    }
}

/// A body that reports how much of it the connection has taken.
#[derive(Debug)]
pub(crate) struct UnreadBody {
    rest: Bytes,
    progress: Arc<Progress>,
    state: Arc<ConnectionState>,
}

impl UnreadBody {
    /// The body with these bytes.
    pub(crate) fn with(self, bytes: Bytes) -> Self {
        Self { rest: bytes, ..self }
    }
}

impl Body for UnreadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE_BYTES);
        if self.progress.quota.is_met(length, self.state.timeouts()) {
            self.progress.since.store(self.state.now(), Relaxed);
            stalls_after(self.state.timeouts().write);
        }
        let piece = self.rest.split_to(length);
        self.progress.is_taken.store(self.rest.is_empty(), Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
