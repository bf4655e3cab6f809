//! How much of what was answered still waits for clients to read it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use aurora_registry::Source;
use bytes::Bytes;
use parking_lot::Mutex;

/// Answers below this are not counted: each connection may hold one, and they are small beside the connection itself.
const COUNTED_FROM_BYTES: usize = 16 * 1024;
/// Most bytes of large answers that wait at once: some hundred of the largest pages. Without a bound, clients that ask on many
/// connections and never read would fill the memory.
const MAX_BYTES: usize = 256 << 20;
/// Most of them that wait for one source: who never reads must not use up what the others need. The service's own machine is
/// exempt, since a proxy there stands for everybody.
const MAX_BYTES_PER_SOURCE: usize = MAX_BYTES / 8;

/// Counts the bytes of large answers until they are sent or given up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: usize,
    by_source: HashMap<Source, usize>,
}

impl Outbox {
    /// Takes the body of an answer on its way to `address`, or refuses it while too much waits already.
    pub(crate) fn take(&self, body: Bytes, address: IpAddr) -> Option<Bytes> {
        if body.len() < COUNTED_FROM_BYTES {
            return Some(body);
        }
        let source = Source::of(address);
        self.0.lock().add(source, body.len())?;
        Some(Bytes::from_owner(Parcel { body, source, outbox: self.clone() }))
    }
}

impl Waiting {
    fn add(&mut self, source: Source, bytes: usize) -> Option<()> {
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        if self.bytes >= MAX_BYTES || (of_source >= MAX_BYTES_PER_SOURCE && !source.is_loopback()) {
            return None;
        }
        self.bytes += bytes;
        self.by_source.insert(source, of_source + bytes);
        Some(())
    }

    fn subtract(&mut self, source: Source, bytes: usize) {
        self.bytes -= bytes;
        if let Entry::Occupied(mut of_source) = self.by_source.entry(source) {
            *of_source.get_mut() -= bytes;
            if *of_source.get() == 0 {
                of_source.remove();
            }
        }
    }
}

/// A body that is on its way for as long as anything refers to its bytes.
struct Parcel {
    body: Bytes,
    source: Source,
    outbox: Outbox,
}

impl AsRef<[u8]> for Parcel {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.outbox.0.lock().subtract(self.source, self.body.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn page() -> Bytes {
        Bytes::from(vec![b'x'; 1 << 20])
    }

    #[test]
    fn large_answers_are_refused_while_too_much_waits_and_no_longer() {
        let outbox = Outbox::default();
        let mut waiting: Vec<_> = (0..MAX_BYTES >> 20).map(|_| outbox.take(page(), HOME).unwrap()).collect();
        assert_eq!(outbox.take(page(), HOME), None);
        assert!(outbox.take(Bytes::from_static(b"{}"), HOME).is_some(), "small answers always go out");
        let part = waiting.pop().map(|body| body.slice(7..8));
        assert_eq!(outbox.take(page(), HOME), None, "a part that waits keeps the whole");
        drop(part);
        assert!(outbox.take(page(), HOME).is_some());
    }

    #[test]
    fn a_source_that_never_reads_leaves_room_for_the_others() {
        let outbox = Outbox::default();
        let [greedy, neighbour]: [IpAddr; 2] =
            ["2001:db8::1", "2001:db8:0:1::1"].map(|text| text.parse().unwrap());
        let mut waiting: Vec<_> = std::iter::from_fn(|| outbox.take(page(), greedy)).collect();
        assert_eq!(waiting.len(), MAX_BYTES_PER_SOURCE >> 20);
        assert!(outbox.take(page(), neighbour).is_some());
        waiting.pop();
        assert!(outbox.take(page(), greedy).is_some());
        drop(waiting);
        assert!(outbox.0.lock().by_source.is_empty(), "what was read leaves nothing behind");
    }
}
