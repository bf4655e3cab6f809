//! Between which two changes a follower stands.

use aurora_registry::Position;

/// A place in the changes of one run of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// The run.
    pub(super) epoch: u64,
    /// How many changes lie before it.
    pub(super) count: u64,
}

impl At {
    /// Another than an enumeration's, so that neither is taken for the other.
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
    fn a_position_reads_back_and_nothing_else_does() {
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
