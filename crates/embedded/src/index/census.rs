//! The index, counted.

use aurora_registry::Census;

use super::Index;

impl Index {
    /// How many peers there are, and of the most frequent archetypes how many each.
    pub(crate) fn census(&self, archetypes: usize) -> Census {
        Census {
            live: self.live.len() as u64,
            dormant: self.schedule.dormant() as u64,
            archetypes: self.archetypes.live() as u64,
            by_archetype: self.archetypes.most_frequent(archetypes),
        }
    }
}
