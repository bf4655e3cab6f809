//! The operations for operators: evicting peers, and reading and replacing the list of blocks.
//!
//! The list of blocks is one item, which each process reads again every few seconds.

use aurora_discovery_protocol::{PeerId, PublicKey, Subject, Timestamp};
use aurora_discovery_registry::{BlockList, Evicted, StoreError, is_subject};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::core::{Core, Lookup, MAX_ATTEMPTS};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item::{self, Item, StoredPeer};
use crate::table::WriteOutcome;

/// Number of items in a page of the scan. Deleting all peers of a page takes about a second.
const ITEMS_PER_PAGE: i32 = 250;
/// Number of peers that are deleted concurrently.
const CONCURRENT_EVICTIONS: usize = 16;

impl Core {
    /// Reads one page of the table, and deletes the peers in it that belong to any of the subjects.
    /// `start` is the start of the page, or `None` for the first one. Also returns the start of the
    /// next page.
    ///
    /// The table has no index by signing key or address, so a caller has to read all pages.
    pub(crate) async fn evict_page(
        &self,
        subjects: &[Subject],
        start: Option<Item>,
        now: Timestamp,
    ) -> Result<(Evicted, Option<Item>), StoreError> {
        let page = self.table.scan(ITEMS_PER_PAGE, start, true).await?;
        let peers =
            page.items.iter().filter(|item| item::is_peer(item)).filter_map(|item| self.parse_peer(item));
        let found: Vec<_> = peers.filter(|peer| is_of_any(peer, subjects)).collect();
        let mut evictions = Vec::with_capacity(found.len());
        for peer in &found {
            evictions.push(self.evict_peer(&peer.registration.peer_id, subjects, now));
        }
        let evicted = stream::iter(evictions)
            .buffer_unordered(CONCURRENT_EVICTIONS)
            .try_fold(Evicted::default(), |sum, one| async move { Ok(sum.plus(one)) })
            .await?;
        Ok((evicted, page.next))
    }

    /// Deletes a peer if it belongs to any of the subjects.
    pub(crate) async fn evict_peer(
        &self,
        peer: &PeerId,
        subjects: &[Subject],
        now: Timestamp,
    ) -> Result<Evicted, StoreError> {
        let position = self.position(peer).await?;
        let _lock = self.lock(position).await;
        let mut lookup = self.look_up(peer).await?;
        for attempt in 0..MAX_ATTEMPTS {
            let Lookup::Found(stored) = lookup else { return Ok(Evicted::default()) };
            if !is_of_any(&stored, subjects) {
                return Ok(Evicted::default());
            }
            let condition = Expression::same_generation(stored.generation);
            match self.table.delete(item::peer_key(peer), condition).await? {
                WriteOutcome::Done => {
                    self.recent.record_removal(position, stored.generation);
                    self.delete_markers(self.marker_keys(&stored), stored.generation).await;
                    return Ok(self.counted(&stored, now));
                }
                WriteOutcome::Refused(item) => lookup = self.look_up_again(peer, item, attempt).await?,
            }
        }
        Err(unavailable("the peer is being changed by too many concurrent requests"))
    }

    /// The numbers to report for an evicted peer. A tombstone is not counted, and neither is an
    /// item that remained after its peer was no longer known.
    fn counted(&self, stored: &StoredPeer, now: Timestamp) -> Evicted {
        let is_known = stored.is_known(now, self.revival_window_millis) && !stored.standing().is_tombstone();
        let is_live = stored.is_live(now);
        Evicted { live: u64::from(is_known && is_live), dormant: u64::from(is_known && !is_live) }
    }

    /// The signing keys to which the names of these peers are locked, in the order of `peers`.
    /// `None` for a name that is not locked. One call of DynamoDB reads up to a hundred peers.
    pub(crate) async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        let window = self.revival_window_millis;
        let key = |lookup| match lookup {
            Lookup::Found(stored) if stored.is_known(now, window) => {
                stored.signed.map(|signed| signed.lock.key)
            }
            Lookup::Found(_) | Lookup::Absent | Lookup::Unreadable(_) => None,
        };
        Ok(self.look_up_all(peers.iter()).await?.into_iter().map(key).collect())
    }

    pub(crate) async fn blocks(&self) -> Result<BlockList, StoreError> {
        let Some(item) = self.table.get(item::blocks_key()).await? else { return Ok(BlockList::default()) };
        item::blocks_of(&item).map_err(|error| {
            StoreError::Internal(format!("the list of blocks can't be parsed; delete the item: {error}"))
        })
    }

    pub(crate) async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        let list = BlockList { version: version + 1, text: text.to_owned() };
        let condition = if version == 0 { Expression::absent() } else { Expression::same_version(version) };
        let written = self.table.put(item::blocks_item(&list), condition).await?;
        Ok(matches!(written, WriteOutcome::Done))
    }
}

/// Whether a peer belongs to any of the subjects: by its id, its signing key or its source.
fn is_of_any(stored: &StoredPeer, subjects: &[Subject]) -> bool {
    let key = stored.signed.as_ref().map(|signed| signed.lock.key);
    let (peer, source) = (&stored.registration.peer_id, stored.holder.source);
    subjects.iter().any(|subject| is_subject(subject, peer, key.as_ref(), source))
}
