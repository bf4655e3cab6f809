//! How much of what was answered still waits for clients to read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;

/// Answers below this are not counted: each connection may hold one, and they are small beside the connection itself.
const COUNTED_FROM_BYTES: usize = 16 * 1024;
/// Most bytes of large answers that wait at once: some hundred of the largest pages. Without a bound, clients that ask on many
/// connections and never read would fill the memory.
const MAX_BYTES: usize = 256 << 20;

/// Counts the bytes of large answers until they are sent or given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<AtomicUsize>);

impl Outbox {
    /// Takes the body of an answer on its way, or refuses it while too much waits already.
    pub(crate) fn take(&self, body: Bytes) -> Option<Bytes> {
        if body.len() < COUNTED_FROM_BYTES {
            return Some(body);
        }
        let waiting = self.0.fetch_add(body.len(), Relaxed);
        let parcel = Parcel { body, outbox: self.clone() };
        (waiting < MAX_BYTES).then(|| Bytes::from_owner(parcel))
    }
}

/// A body that is on its way for as long as anything refers to its bytes.
struct Parcel {
    body: Bytes,
    outbox: Outbox,
}

impl AsRef<[u8]> for Parcel {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.outbox.0.fetch_sub(self.body.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_answers_are_refused_while_too_much_waits_and_no_longer() {
        let outbox = Outbox::default();
        let page = Bytes::from(vec![b'x'; 1 << 20]);
        let mut waiting: Vec<_> = (0..MAX_BYTES >> 20).map(|_| outbox.take(page.clone()).unwrap()).collect();
        assert_eq!(outbox.take(page.clone()), None);
        assert!(outbox.take(Bytes::from_static(b"{}")).is_some(), "small answers always go out");
        let part = waiting.pop().map(|body| body.slice(7..8));
        assert_eq!(outbox.take(page.clone()), None, "a part that waits keeps the whole");
        drop(part);
        assert!(outbox.take(page).is_some());
    }
}
