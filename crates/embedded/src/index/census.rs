//! The census of the index.

use aurora_discovery_registry::Census;

use super::Index;

impl Index {
    /// The number of peers, and the number of peers of each of the most frequent archetypes.
    pub(crate) fn census(&self, archetypes: usize) -> Census {
        Census {
            live: self.live.len() as u64,
            dormant: self.schedule.dormant() as u64,
            archetypes: self.archetypes.live() as u64,
            by_archetype: self.archetypes.most_frequent(archetypes),
        }
    }
}
