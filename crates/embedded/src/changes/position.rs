//! The position of a follower in the change log.

use aurora_discovery_registry::Position;

/// A point between two changes of one run of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogPosition {
    /// The run of the store, as a random number.
    pub(super) epoch: u64,
    /// The number of changes of this run before the position.
    pub(super) offset: u64,
}

impl LogPosition {
    /// Different from the version byte of an enumeration's cursor, so that neither is mistaken for
    /// the other.
    const VERSION: u8 = 0xC1;

    pub(super) fn encode(self) -> Position {
        let mut bytes = vec![Self::VERSION];
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        Position(bytes)
    }

    pub(super) fn decode(position: &Position) -> Option<Self> {
        let (&version, rest) = position.0.split_first()?;
        let (epoch, offset) = rest.split_first_chunk()?;
        let (offset, []) = offset.split_first_chunk()? else { return None };
        let position = Self { epoch: u64::from_be_bytes(*epoch), offset: u64::from_be_bytes(*offset) };
        (version == Self::VERSION).then_some(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_positions_decode() {
        let decoded = LogPosition { epoch: 7, offset: 9 };
        let position = decoded.encode();
        assert_eq!(LogPosition::decode(&position), Some(decoded));
        for cut in 0..position.0.len() {
            assert_eq!(LogPosition::decode(&Position(position.0[..cut].to_vec())), None);
        }
        assert_eq!(LogPosition::decode(&Position([position.0, vec![0]].concat())), None);
        assert_eq!(LogPosition::decode(&Position(vec![1; 17])), None);
    }
}
