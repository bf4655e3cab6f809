//! The archetypes of one peer.

/// An archetype of a peer, and the peer's position among the members of that archetype while it is
/// live.
#[derive(Clone, Copy)]
pub(crate) struct Membership {
    pub(crate) archetype: u32,
    pub(crate) position: u32,
}

/// The archetypes of one peer. Up to two, the common case, need no allocation.
pub(crate) enum Memberships {
    None,
    One([Membership; 1]),
    Two([Membership; 2]),
    Many(Box<[Membership]>),
}

impl Memberships {
    pub(crate) fn new(archetypes: impl ExactSizeIterator<Item = u32>) -> Self {
        let mut all = archetypes.map(|archetype| Membership { archetype, position: 0 });
        match all.len() {
            0 | 1 => all.next().map_or(Self::None, |one| Self::One([one])),
            2 => match (all.next(), all.next()) {
                (Some(first), Some(second)) => Self::Two([first, second]),
                _ => Self::None,
            },
            _ => Self::Many(all.collect()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Membership] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Two(two) => two,
            Self::Many(many) => many,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Membership] {
        match self {
            Self::None => &mut [],
            Self::One(one) => one,
            Self::Two(two) => two,
            Self::Many(many) => many,
        }
    }
}
