//! Eviction by an operator: deletes the peers of some subjects. The holder rules do not apply.

use aurora_discovery_protocol::{Subject, Timestamp};
use aurora_discovery_registry::{Evicted, StoreError};

use super::{EmbeddedStore, wait_for};
use crate::journal::Commit;
use crate::record::Record;

/// The number of slots that are searched while the index is locked once for reading: about half a
/// millisecond of work.
const SLOTS_PER_LOCK: u32 = 4_096;
/// The number of peers that are deleted while the index is locked exclusively once.
const PEERS_PER_LOCK: usize = 256;

impl EmbeddedStore {
    /// Deletes the peers of `subjects`. A peer that registers meanwhile may be missed.
    pub(super) async fn evict_all(
        &self,
        subjects: &[Subject],
        now: Timestamp,
    ) -> Result<Evicted, StoreError> {
        let mut evicted = Evicted::default();
        let mut from = 0;
        loop {
            let (found, until) = self.search(subjects, from);
            for slots in found.chunks(PEERS_PER_LOCK) {
                for commit in self.evict_slots(slots, subjects, now, &mut evicted)? {
                    wait_for(Some(commit)).await?;
                }
            }
            if from == until {
                return Ok(evicted);
            }
            from = until;
            tokio::task::yield_now().await;
        }
    }

    /// Searches the next slots from `from` on for peers of the subjects. Returns the slots of these
    /// peers, and the slot at which the next search begins. It is `from` itself if there are no
    /// more slots to search. A peer id as the only subject needs no search: its slot is looked up.
    pub(super) fn search(&self, subjects: &[Subject], from: u32) -> (Vec<u32>, u32) {
        let index = self.shared.index.read();
        if let [Subject::Peer(peer)] = subjects {
            return (index.find_peer(peer).into_iter().collect(), from);
        }
        let until = index.slot_count().min(from.saturating_add(SLOTS_PER_LOCK));
        ((from..until).filter(|slot| index.is_of_any(*slot, subjects)).collect(), until)
    }

    /// Deletes the peers in these slots that still belong to the subjects.
    fn evict_slots(
        &self,
        slots: &[u32],
        subjects: &[Subject],
        now: Timestamp,
        evicted: &mut Evicted,
    ) -> Result<Vec<Commit>, StoreError> {
        let mut commits = Vec::with_capacity(slots.len());
        let mut index = self.write(now);
        for slot in slots.iter().copied().filter(|slot| *slot < index.slot_count()).collect::<Vec<_>>() {
            if !index.is_of_any(slot, subjects) {
                continue;
            }
            let (peer, mut record) = (index.id_of(slot), Vec::new());
            Record::Removed { peer: &peer }.encode(&mut record);
            commits.extend(self.append(&record, || index.undo(&peer, Some(slot)))?);
            match index.liveness_of(slot) {
                Some(true) => evicted.live += 1,
                Some(false) => evicted.dormant += 1,
                None => {}
            }
            index.remove(slot);
        }
        Ok(commits)
    }
}
