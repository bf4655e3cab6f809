//! One connection of a watch: the frames of its stream, read with bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{self, BoxStream, StreamExt as _};
use reqwest::Response;
use sse_stream::{Sse, SseByteStream};

use crate::endpoint::root_cause;
use crate::transport::Route;

/// The maximum number of bytes that are read without a complete event, so that memory is bounded.
/// The largest registration is smaller than a tenth of this.
const MAX_EVENT_BYTES: usize = 256 * 1024;

/// An open stream of events.
pub(super) struct Connection {
    /// The endpoint of the stream.
    pub(super) route: Route,
    frames: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    /// The number of bytes that were read since the latest frame.
    unframed: Arc<AtomicUsize>,
}

/// Why a stream cannot be read further.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The connection broke.
    #[error("{0}")]
    Broken(String),
    #[error("an event of more than 256 KiB")]
    TooLong,
    #[error("a malformed event ({0})")]
    Malformed(sse_stream::Error),
}

/// Why the bytes of a stream cannot be read.
#[derive(Debug, thiserror::Error)]
enum ChunkError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("too long")]
    TooLong,
}

impl Connection {
    pub(super) fn new(route: Route, response: Response) -> Self {
        let unframed = Arc::new(AtomicUsize::new(0));
        let read = Arc::clone(&unframed);
        let chunks = stream::try_unfold((response, read), |(mut response, read)| async move {
            if read.load(Ordering::Relaxed) > MAX_EVENT_BYTES {
                return Err(ChunkError::TooLong);
            }
            let Some(chunk) = response.chunk().await? else { return Ok(None) };
            read.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok(Some((chunk, (response, read))))
        });
        Self { route, frames: Box::pin(SseByteStream::new(Box::pin(chunks))), unframed }
    }

    /// The next frame, or `None` at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Result<Sse, ReadError>> {
        let frame = self.frames.next().await?;
        self.unframed.store(0, Ordering::Relaxed);
        Some(frame.map_err(|error| match error {
            sse_stream::Error::Body(cause) => match cause.downcast_ref::<ChunkError>() {
                Some(ChunkError::TooLong) => ReadError::TooLong,
                _ => ReadError::Broken(root_cause(cause.as_ref())),
            },
            other => ReadError::Malformed(other),
        }))
    }
}
