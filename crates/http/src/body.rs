//! Reading a request's body, whole and bounded.

use aurora_protocol::{Code, MAX_BODY_BYTES};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::error::Failure;
use crate::inbox::Inbox;

/// Most bytes of a refused body that are read and dropped, so that its sender, still writing, gets to see the answer.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// Reads a body of at most [`MAX_BODY_BYTES`], however its length is announced, while `inbox` has room for what is here of it.
pub(crate) async fn read_body<B>(mut body: B, inbox: &Inbox) -> Result<Bytes, Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > MAX_DISCARDED_BYTES as u64 {
        return Err(too_large());
    }
    let (mut whole, mut share) = (Whole::default(), inbox.share());
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|_| Failure::new(Code::InvalidBody, "the body ended before its length"))?;
        let Ok(data) = frame.into_data() else { continue };
        whole.push(data);
        if whole.length > MAX_DISCARDED_BYTES {
            break;
        }
        if !body.is_end_stream() && !share.grow_to(whole.length.min(MAX_BODY_BYTES)) {
            return Err(Failure::unavailable("too many request bodies are still on their way; try again"));
        }
    }
    if whole.length > MAX_BODY_BYTES { Err(too_large()) } else { Ok(whole.into_bytes()) }
}

/// What came of a body: most come in one piece, which is then not copied.
#[derive(Default)]
struct Whole {
    first: Bytes,
    more: Vec<u8>,
    /// Bytes that came, dropped ones included.
    length: usize,
}

impl Whole {
    fn push(&mut self, data: Bytes) {
        self.length = self.length.saturating_add(data.len());
        if self.length > MAX_BODY_BYTES {
            return;
        }
        if self.length == data.len() {
            self.first = data;
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.first);
        }
        self.more.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.more.is_empty() { self.first } else { self.more.into() }
    }
}

fn too_large() -> Failure {
    Failure::new(Code::BodyTooLarge, format!("the body must be at most {MAX_BODY_BYTES} bytes"))
}
