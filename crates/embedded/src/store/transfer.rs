//! Moving peers to and from another store.

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{ExportPage, Import, PeerState, Position, StoreError};

use super::EmbeddedStore;
use crate::index::Entry;
use crate::journal::Commit;

/// Slots per page of an export: about a millisecond of work under the lock of the index.
const SLOTS_PER_PAGE: u32 = 256;

impl EmbeddedStore {
    /// A page of the peers in the slots from `after` on.
    pub(super) fn export_page(
        &self,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<ExportPage, StoreError> {
        let from = match after {
            None => 0,
            Some(Position(bytes)) => {
                let bytes = bytes.as_slice().try_into();
                bytes
                    .map(u32::from_be_bytes)
                    .map_err(|_| StoreError::Internal("a foreign position".into()))?
            }
        };
        let index = self.read(now);
        let until = index.slot_count().min(from.saturating_add(SLOTS_PER_PAGE));
        let mut page = ExportPage::default();
        for number in from..until {
            match index.export(number) {
                Ok(peer) => page.peers.extend(peer),
                Err(error) => {
                    page.skipped += 1;
                    tracing::warn!(error, "a peer cannot be exported");
                }
            }
        }
        page.next = (until < index.slot_count()).then(|| Position(until.to_be_bytes().to_vec()));
        Ok(page)
    }

    /// Inserts a peer, unless one of its name is known.
    pub(super) fn import_peer(
        &self,
        state: PeerState,
        now: Timestamp,
    ) -> Result<(Import, Option<Commit>), StoreError> {
        let mut index = self.write(now);
        let entry = Entry::import(state, -index.time_offset(), now, &self.shared.keys);
        if index.find(&entry.peer_id, entry.hash).is_some() {
            return Ok((Import::Known, None));
        }
        let mut record = Vec::with_capacity(entry.record_len());
        entry.encode(index.time_offset(), &mut record);
        let commit = self.append(&record, || index.undo(entry.peer_id.as_str(), None))?;
        index.insert(&entry, None);
        Ok((Import::Stored, commit))
    }
}
