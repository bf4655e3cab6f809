//! The lock and the signed registration of a peer that signed, encoded as bytes. In memory, they
//! are stored after the peer's text (`index/memory/tail.rs`). On disk, they are a part of its
//! record. A peer that did not sign takes no memory for them.

use aurora_discovery_protocol::{PublicKey, Timestamp};
use aurora_discovery_registry::{Lock, SignedPeer};

/// The lock and the signed registration of a peer, borrowed from the bytes in which they are
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredSignature<'a> {
    pub(crate) lock: Lock,
    /// The compact JWS. Empty for a tombstone.
    pub(crate) record: &'a str,
}

impl<'a> StoredSignature<'a> {
    /// The number of bytes before the record: the key, and three numbers.
    pub(crate) const HEAD: usize = PublicKey::LEN + 3 * 8;

    /// The number of bytes that [`StoredSignature::encode`] writes.
    pub(crate) const fn len(&self) -> usize {
        Self::HEAD + self.record.len()
    }

    /// Appends the bytes. Numbers are big-endian, and times are in milliseconds. `left_at` is zero
    /// if the peer has not deregistered.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Lock { key, seq, since, left_at } = self.lock;
        out.extend_from_slice(&key.to_bytes());
        for number in [seq, since.as_millis(), left_at.map_or(0, Timestamp::as_millis)] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(self.record.as_bytes());
    }

    /// Reads bytes that [`StoredSignature::encode`] wrote. `None` if the bytes are invalid.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (key, rest) = bytes.split_first_chunk()?;
        let (numbers, record) = rest.split_at_checked(3 * 8)?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [seq, since, left_at] = *numbers else { return None };
        let left_at = Some(u64::from_be_bytes(left_at)).filter(|millis| *millis > 0);
        let lock = Lock {
            key: PublicKey::from_bytes(*key),
            seq: u64::from_be_bytes(seq),
            since: Timestamp::from_millis(u64::from_be_bytes(since)),
            left_at: left_at.map(Timestamp::from_millis),
        };
        Some(Self { lock, record: std::str::from_utf8(record).ok()? })
    }

    /// The lock that remains when the peer deregisters at `now`.
    pub(crate) fn left(self, now: Timestamp) -> Self {
        Self { lock: Lock { left_at: Some(now), ..self.lock }, record: "" }
    }

    /// The same with `offset` milliseconds added to all times.
    pub(crate) fn shifted_by_millis(self, offset: i64) -> Self {
        Self { lock: self.lock.shifted_by_millis(offset), ..self }
    }
}

impl<'a> From<&'a SignedPeer> for StoredSignature<'a> {
    fn from(signed: &'a SignedPeer) -> Self {
        Self { lock: signed.lock, record: &signed.record }
    }
}

impl From<StoredSignature<'_>> for SignedPeer {
    fn from(signed: StoredSignature<'_>) -> Self {
        Self { lock: signed.lock, record: signed.record.into() }
    }
}

/// The number of bytes that [`append`] adds to a text.
pub(crate) fn len(signed: &SignedPeer) -> usize {
    StoredSignature::from(signed).len()
}

/// A text, followed by the encoded lock and signed registration.
pub(crate) fn append(text: &[u8], signed: &SignedPeer) -> Box<[u8]> {
    let signed = StoredSignature::from(signed);
    let mut bytes = Vec::with_capacity(text.len() + signed.len());
    bytes.extend_from_slice(text);
    signed.encode(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_signature_round_trips() {
        for left_at in [None, Some(Timestamp::from_millis(9))] {
            let since = Timestamp::from_millis(8);
            let lock = Lock { key: PublicKey::from_bytes([7; 32]), seq: 1 << 52, since, left_at };
            for record in ["", "a.b.c"] {
                let signed = StoredSignature { lock, record };
                let stored = append(b"text", &SignedPeer::from(signed));
                assert_eq!(stored.len(), 4 + signed.len());
                assert_eq!(StoredSignature::parse(&stored[4..]), Some(signed));
                assert_eq!(StoredSignature::parse(&stored[4..4 + StoredSignature::HEAD - 1]), None);
            }
        }
    }
}
