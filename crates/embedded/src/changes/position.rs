//! The position of a follower in the change log.

use aurora_discovery_registry::Position;

/// A point between two changes of one run of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// Identifies the run.
    pub(super) epoch: u64,
    /// The number of changes before it.
    pub(super) count: u64,
}

impl At {
    /// Different from the version byte of an enumeration's cursor, so that neither is mistaken for
    /// the other.
    const VERSION: u8 = 0xC1;

    pub(super) fn encode(self) -> Position {
        let mut bytes = vec![Self::VERSION];
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.count.to_be_bytes());
        Position(bytes)
    }

    pub(super) fn decode(position: &Position) -> Option<Self> {
        let (&version, rest) = position.0.split_first()?;
        let (epoch, count) = rest.split_first_chunk()?;
        let (count, []) = count.split_first_chunk()? else { return None };
        let at = Self { epoch: u64::from_be_bytes(*epoch), count: u64::from_be_bytes(*count) };
        (version == Self::VERSION).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_positions_decode() {
        let at = At { epoch: 7, count: 9 };
        let position = at.encode();
        assert_eq!(At::decode(&position), Some(at));
        for cut in 0..position.0.len() {
            assert_eq!(At::decode(&Position(position.0[..cut].to_vec())), None);
        }
        assert_eq!(At::decode(&Position([position.0, vec![0]].concat())), None);
        assert_eq!(At::decode(&Position(vec![1; 17])), None);
    }
}
