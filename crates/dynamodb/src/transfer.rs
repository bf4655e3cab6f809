//! Exporting all peers to another store, and importing them from one.

use std::sync::Arc;

use aurora_discovery_protocol::{PeerJson, Timestamp};
use aurora_discovery_registry::{ExportPage, Import, PeerState, Position, StoreError};

use crate::core::{Core, Lookup, MAX_ATTEMPTS, new_generation};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item::{self, Generation, StoredPeer};
use crate::table::WriteOutcome;

/// Number of items in a page of an export. A page must be read within the deadline of an operation.
const ITEMS_PER_PAGE: i32 = 1_000;

impl Core {
    /// Exports the peers in one page of the table, read with strong consistency. `after` is the
    /// position that the previous page of the export returned, or `None` for the first page.
    pub(crate) async fn export(&self, after: Option<&Position>) -> Result<ExportPage, StoreError> {
        let foreign = || StoreError::Internal("a foreign position".to_owned());
        let start = after.map(|Position(bytes)| std::str::from_utf8(bytes).map(item::key));
        let start = start.transpose().map_err(|_| foreign())?;
        let page = self.table.scan(ITEMS_PER_PAGE, start, true).await?;
        let mut exported = ExportPage::default();
        for item in page.items.iter().filter(|item| item::is_peer(item)) {
            match self.parse_peer(item) {
                Some(stored) => exported.peers.push(stored.into()),
                None => exported.skipped += 1,
            }
        }
        let next = page.next.as_ref().and_then(item::key_of);
        exported.next = next.map(|key| Position(key.as_bytes().to_vec()));
        Ok(exported)
    }

    /// Writes a peer with its markers, unless a peer with its id is known.
    pub(crate) async fn import(&self, state: PeerState, now: Timestamp) -> Result<Import, StoreError> {
        let peer = state.registration.peer_id.clone();
        let position = self.position(&peer).await?;
        let generation = new_generation()?;
        let _lock = self.lock(position).await;
        let next = self.imported(state, generation);
        let item = next.to_item(self.secret().await?, self.revival_window_millis);
        let item = item.map_err(|error| StoreError::Internal(error.to_string()))?;
        let mut markers = self.markers(&next).await?;
        if next.standing().is_tombstone() {
            // A tombstone keeps only the marker of its source, which is the last one in `markers`.
            // The markers of its archetypes, which come first, are not written.
            markers.drain(..next.archetypes().len());
        }
        let mut lookup = self.look_up(&peer).await?;
        for attempt in 0..MAX_ATTEMPTS {
            let condition = match &lookup {
                Lookup::Absent => Expression::absent(),
                Lookup::Unreadable(item) => Expression::same_unreadable(item),
                // An earlier attempt of the SDK wrote the peer, but its response was lost.
                Lookup::Found(stored) if stored.generation == generation => return Ok(Import::Stored),
                Lookup::Found(stored) if stored.is_known(now, self.revival_window_millis) => {
                    return Ok(Import::Known);
                }
                Lookup::Found(stored) => Expression::same_generation(stored.generation),
            };
            // The markers are written before the peer, as in a registration.
            self.table.write_all(markers.clone()).await?;
            match self.table.put(item.clone(), condition).await? {
                WriteOutcome::Done => {
                    self.recent.record_registration(position, Arc::new(next));
                    return Ok(Import::Stored);
                }
                WriteOutcome::Refused(item) => lookup = self.look_up_again(&peer, item, attempt).await?,
            }
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }

    fn imported(&self, state: PeerState, generation: Generation) -> StoredPeer {
        let is_tombstone = state.standing().is_tombstone();
        let mut peer = StoredPeer {
            json: PeerJson::new(&state.registration),
            registration: state.registration,
            expires_at: state.expires_at,
            last_seen: state.last_seen,
            registered_at: state.registered_at,
            ttl: state.ttl,
            holder: state.holder,
            signed: state.signed,
            stored_proof: Some(state.proven_at),
            generation,
            markers_expire_at: 0,
            indexed: !is_tombstone,
        };
        peer.markers_expire_at = peer.marker_expiry(self.revival_window_millis);
        peer
    }
}

impl From<StoredPeer> for PeerState {
    fn from(stored: StoredPeer) -> Self {
        let proven_at = stored.standing().proven_at;
        let StoredPeer { registration, ttl, registered_at, last_seen, expires_at, holder, signed, .. } =
            stored;
        Self { registration, ttl, registered_at, last_seen, proven_at, expires_at, holder, signed }
    }
}
