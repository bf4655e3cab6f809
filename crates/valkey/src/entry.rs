//! The entries of the log, which is a stream on the server with the changes of all processes.

use std::fmt;

use aurora_discovery_embedded::replica::LeaseState;
use aurora_discovery_protocol::PeerId;
use redis::Value;

use crate::lease;

/// Eight random bytes that identify an entry of the log, or one version of a mailbox.
///
/// Each entry of the log also has the nonce of the entry before it, so a reader detects that it has
/// missed entries. That happens if the log was trimmed, or if a server without the last entries
/// became the primary. The ids of the stream can't show it, because the new primary may give the
/// same ids to other entries.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Nonce(u64);

/// The id of an entry in the stream, which orders the entries: a time in milliseconds, and a number
/// within the millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId {
    millis: u64,
    number: u64,
}

/// An entry of the log: the changes of one batch.
#[derive(Debug)]
pub(crate) struct LogEntry {
    pub(crate) id: StreamId,
    pub(crate) nonce: Nonce,
    /// The nonce of the entry before this one. `None` for the first entry of a log.
    pub(crate) previous: Option<Nonce>,
    /// The id of each changed peer, and the change, which [`LoggedChange::parse`] parses.
    pub(crate) changes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One change of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LoggedChange<'a> {
    /// The peer has a new lease and a new record.
    Peer(LeaseState, &'a [u8]),
    /// The peer has a new lease, and its record is unchanged.
    Lease(LeaseState),
    /// The peer was deleted.
    Deleted,
}

impl Nonce {
    pub(crate) fn random() -> Self {
        Self(fastrand::u64(..))
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        lease::hex(std::str::from_utf8(text).ok()?).map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StreamId {
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (millis, number) = std::str::from_utf8(text).ok()?.split_once('-')?;
        Some(Self { millis: millis.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.number)
    }
}

impl LogEntry {
    /// Parses an entry as `XREAD` and `XRANGE` return it: its id, and a list in which names and
    /// values alternate. `commit.lua` writes these fields.
    pub(crate) fn parse(value: Value) -> Option<Self> {
        let [id, fields] = <[Value; 2]>::try_from(array(value)?).ok()?;
        let id = StreamId::parse(&bytes(id)?)?;
        let mut fields = array(fields)?.into_iter();
        let (mut nonce, mut previous, mut changes) = (None, None, Vec::new());
        while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
            let (name, value) = (bytes(name)?, bytes(value)?);
            match name.as_slice() {
                b"nonce" => nonce = Nonce::parse(&value),
                b"previous" => previous = Nonce::parse(&value),
                [b'=', peer @ ..] => changes.push((peer.to_vec(), value)),
                // Fields that a later release has added are ignored.
                _ => {}
            }
        }
        Some(Self { id, nonce: nonce?, previous, changes })
    }
}

impl<'a> LoggedChange<'a> {
    /// Parses the value of a change. It is the lease, followed by a line feed and the record if the
    /// record is new. An empty value means that the peer was deleted.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        if value.is_empty() {
            return Some(Self::Deleted);
        }
        match value.iter().position(|byte| *byte == b'\n') {
            Some(end) => Some(Self::Peer(lease::parse(&value[..end])?, &value[end + 1..])),
            None => lease::parse(value).map(Self::Lease),
        }
    }
}

/// Parses the id of a peer.
pub(crate) fn peer_id(bytes: &[u8]) -> Option<PeerId> {
    PeerId::parse(std::str::from_utf8(bytes).ok()?).ok()
}

/// The elements of an array. `None` for any other value.
pub(crate) fn array(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

/// The bytes of a string. `None` for any other value.
pub(crate) fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn an_entry_has_its_place_in_the_chain_and_its_changes() {
        let fields =
            ["nonce", "00000000000000ff", "previous", "", "=p", "x", "later", "y", "=q", ""].map(text);
        let entry = LogEntry::parse(Value::Array(vec![text("17-3"), Value::Array(fields.to_vec())])).unwrap();
        assert_eq!(
            (entry.id.to_string(), entry.nonce, entry.previous),
            ("17-3".to_owned(), Nonce(255), None)
        );
        assert_eq!(entry.changes, [(b"p".to_vec(), b"x".to_vec()), (b"q".to_vec(), Vec::new())]);
        assert_eq!(Nonce::parse(Nonce(255).to_string().as_bytes()), Some(Nonce(255)));
        let nameless = Value::Array(vec![text("17-3"), Value::Array(vec![text("=p"), text("x")])]);
        assert!(LogEntry::parse(nameless).is_none() && LogEntry::parse(Value::Nil).is_none());
    }

    #[test]
    fn stream_ids_are_ordered_as_numbers() {
        let [one, two, three] =
            ["9-10", "10-2", "10-11"].map(|text| StreamId::parse(text.as_bytes()).unwrap());
        assert!(one < two && two < three);
        assert_eq!(StreamId::parse(b"10"), None);
    }

    #[test]
    fn an_empty_change_deletes_and_any_other_needs_a_lease() {
        assert_eq!(LoggedChange::parse(b""), Some(LoggedChange::Deleted));
        assert_eq!(LoggedChange::parse(b"1 2 3"), None);
        assert_eq!(LoggedChange::parse(b"1 2 3\nrecord"), None);
    }
}
