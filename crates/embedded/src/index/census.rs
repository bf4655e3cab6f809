//! The census of the index.

use aurora_discovery_protocol::Archetype;
use aurora_discovery_registry::{ArchetypeCensus, Census};

use super::Index;

/// The maximum number of peers of an archetype whose sources are compared.
const COMPARED: usize = 16;

impl Index {
    /// The number of peers, and the number of peers of each of the most frequent archetypes.
    pub(crate) fn census(&self, archetypes: usize) -> Census {
        Census {
            live: self.live.len() as u64,
            dormant: (self.schedule.dormant() - self.tombstones) as u64,
            archetypes: self.archetypes.live() as u64,
            by_archetype: self.archetypes.most_frequent(archetypes),
        }
    }

    /// The number of live peers of one archetype, and whether they are known to come from several
    /// sources. Only some of the peers are compared, so sources with few peers may be missed.
    pub(crate) fn archetype_census(&self, archetype: &Archetype) -> ArchetypeCensus {
        let Some(number) = self.archetypes.find(archetype.key()) else { return ArchetypeCensus::default() };
        let members = self.archetypes.members(number).as_slice();
        // One source may have registered many peers in a row, so the compared members are taken
        // from the whole list, at equal distances.
        let compared = members.iter().step_by(members.len().div_ceil(COMPARED).max(1));
        let mut sources = compared.map(|slot| self.slots.tail(*slot).holder().source);
        let several_sources = sources.next().is_some_and(|first| {
            first.is_loopback() || sources.any(|other| other != first || other.is_loopback())
        });
        ArchetypeCensus { peers: members.len() as u64, several_sources }
    }
}
