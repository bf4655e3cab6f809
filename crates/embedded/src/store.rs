//! The store: the index with its lock, and the journal.

mod change;
mod checkpoint;
mod close;
mod evict;
mod figure;
mod mail;
mod open;
mod replica;
mod transfer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use aurora_discovery_protocol::{Archetype, PeerId, PublicKey, Subject, Timestamp};
use aurora_discovery_registry::{
    ArchetypeCensus, BlockList, Census, Changes, Claim, Enumeration, Evicted, ExportPage, Holder, Import,
    Mailboxes, Page, PeerState, Position, PutRequest, PutResult, Query, Removal, Renewal, Replacement, Store,
    StoreError, StoreMetric, Swept,
};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::task::spawn_blocking;

pub use open::{EmbeddedOptions, RestoreReport};
pub use replica::{Applied, Change, RemoteState, Replica};

use crate::block_file::BlockFile;
use crate::changes::ChangeLog;
use crate::index::{Entry, EvictedPeers, Index, Keys, Lease, RemovalDecision, Undo};
use crate::journal::{Commit, Journal, Unavailable};
use crate::mail::MailStore;
use crate::record::Record;
use change::IndexWriteGuard;
use checkpoint::Checkpointer;

/// The embedded store: peers in memory, and their registrations on disk if it was opened with a
/// directory.
///
/// All reads and most heartbeats of live peers share the lock of the index. A change holds it
/// exclusively, usually for a few microseconds. If leases are due, the operation that finds them
/// first ends them, also with exclusive access. The lock is never held while waiting for the disk.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    journal: Option<Arc<Journal<Undo>>>,
    checkpointer: Arc<Checkpointer>,
    blocks: Arc<BlockFile>,
    mail: MailStore,
    restored: RestoreReport,
}

/// The part of the store that the journal's thread and the checkpoint's thread use too.
struct Shared {
    index: RwLock<Index>,
    /// The index's change log, reachable without locking the index.
    changes: Arc<ChangeLog>,
    keys: Keys,
    closed: AtomicBool,
    /// Whether a checkpoint is needed although the journal has not grown much: the journal may lack
    /// a change that the index has, it contains damage that was dropped, or the last checkpoint
    /// failed.
    checkpoint_wanted: AtomicBool,
    /// The number of changes that were not made durable and could not be reverted. It should stay
    /// zero.
    failed_reverts: AtomicU64,
    /// The index's list of the peers that were evicted since the last [`Replica::take_evicted`],
    /// reachable without locking the index. `None` unless the store is a replica.
    evicted: Option<Arc<EvictedPeers>>,
}

/// The maximum number of due leases and evictions that are processed while the index is locked
/// exclusively once. They take about a tenth of a millisecond.
const ADVANCE_STEPS: usize = 256;

/// After how many seconds a client may retry if the disk fails or the store is closed. The journal
/// itself retries more often.
const RETRY_AFTER_SECONDS: u32 = 5;

#[async_trait]
impl Store for EmbeddedStore {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        self.check_open()?;
        let (placement, commit) = self.insert(put, now)?;
        wait_for(commit).await?;
        Ok(placement)
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        self.check_open()?;
        let hash = self.shared.keys.peer(peer.as_str().as_bytes());
        if let Some(renewal) = self.shared.index.read().renew(peer, hash, claim, now) {
            return Ok(renewal);
        }
        // The heartbeat needs the index exclusively, for one of three reasons. The peer is dormant,
        // its lease has just ended, or the heartbeat changes its keeper. An unproven heartbeat may
        // replace the keeper, and a proven one releases the peer from it.
        let mut index = self.write(now);
        if index.is_dormant(peer, hash) {
            self.check_directory()?;
        }
        let mut log = |record: &Record<'_>| self.append_in_background(record);
        Ok(index.renew_exclusively(peer, hash, claim, now, &mut log))
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        self.check_open()?;
        let (removal, commit) = self.delete(peer, claim, now)?;
        wait_for(commit).await?;
        Ok(removal)
    }

    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError> {
        self.check_open()?;
        self.evict_all(subjects, now).await
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        self.check_open()?;
        let index = self.read(now);
        Ok(peers.iter().map(|peer| index.locking_key(peer)).collect())
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        self.check_open()?;
        Ok(self.blocks.list())
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        self.check_open()?;
        self.check_journal()?;
        let (blocks, text) = (Arc::clone(&self.blocks), text.to_owned());
        let replaced = spawn_blocking(move || blocks.replace(&text, version)).await;
        let replaced = replaced.map_err(|error| StoreError::Internal(error.to_string()))?;
        replaced.map_err(|error| StoreError::Unavailable {
            reason: format!("the list of blocks can't be written: {error}"),
            retry_after_seconds: RETRY_AFTER_SECONDS,
        })
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        self.check_open()?;
        let index = self.read(now);
        Ok(index.fill(index.sample(query, now), query, now))
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        self.check_open()?;
        Ok(self.read(now).enumerate(query, after, now))
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        self.check_open()?;
        Ok(self.read(now).census(archetypes))
    }

    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        self.check_open()?;
        while self.sweep_step(now) {
            tokio::task::yield_now().await;
        }
        self.sweep_mail(now).await;
        self.checkpoint_if_wanted();
        Ok(self.shared.write().take_swept())
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.check_open()?;
        self.journal.as_ref().map_or(Ok(()), |journal| journal.health()).map_err(|error| unavailable(&error))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // A store whose disk is full is ready, because heartbeats and lists still work.
        self.check_open()
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn mailboxes(&self) -> Option<&dyn Mailboxes> {
        Some(self)
    }

    fn set_time_offset(&self, millis: i64) {
        self.shared.index.read().set_time_offset(millis);
    }

    fn archetype_census(&self, archetype: &Archetype, now: Timestamp) -> Option<ArchetypeCensus> {
        self.check_open().ok().map(|()| self.read(now).archetype_census(archetype))
    }

    fn undiscovered_ratio(&self, now: Timestamp) -> Option<f64> {
        self.check_open().ok().map(|()| self.read(now).undiscovered_ratio(now))
    }

    async fn export(&self, after: Option<&Position>, now: Timestamp) -> Result<ExportPage, StoreError> {
        self.check_open()?;
        self.export_page(after, now)
    }

    async fn import(&self, peer: PeerState, now: Timestamp) -> Result<Import, StoreError> {
        self.check_open()?;
        let (import, commit) = self.import_peer(peer, now)?;
        wait_for(commit).await?;
        Ok(import)
    }

    fn metrics(&self) -> Vec<StoreMetric> {
        self.all_figures()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.close_once().await
    }
}

impl EmbeddedStore {
    /// The result of opening the store.
    pub fn restored(&self) -> &RestoreReport {
        &self.restored
    }

    /// Decides about a registration and applies it while holding the index exclusively.
    fn insert(&self, put: PutRequest, now: Timestamp) -> Result<(PutResult, Option<Commit>), StoreError> {
        let PutRequest { registration, ttl, claim, token_only, new_token, signing } = put;
        let replacement = Replacement { claim: &claim, token_only, signing: &signing };
        let holder = Holder { source: claim.source, token: new_token, page: claim.page.page(), token_only };
        let mut entry = Entry::new(registration, holder, Lease::begin(ttl, now), &self.shared.keys);
        let mut record = Vec::with_capacity(entry.record_len());

        // From here to the append, the index stays locked. The decision, the record and the change
        // are therefore one step, and the records have the same order as the changes.
        let mut index = self.write(now);
        let admission = match index.admit(&mut entry, &replacement, now) {
            Ok(admission) => admission,
            Err(refusal) => return Ok((refusal, None)),
        };
        if let (true, Some(token)) = (admission.token_kept, claim.token) {
            entry.content.holder.token = token;
        }
        // If the disk rejects writes, no dormant peer may be evicted for a registration that will
        // fail.
        self.check_journal()?;
        index.make_room(&entry, &admission, &mut |record| self.append_in_background(record));
        entry.encode(index.time_offset(), &mut record);
        // The record is appended first, because an append can fail, and inserting cannot.
        let commit = self.append(&record, || index.undo(entry.peer_id.as_str(), admission.slot))?;
        index.insert(&entry, admission.slot);
        Ok((PutResult::Stored { token_kept: admission.token_kept }, commit))
    }

    /// Decides about a deregistration and applies it while holding the index exclusively.
    fn delete(
        &self,
        peer: &PeerId,
        claim: &Claim,
        now: Timestamp,
    ) -> Result<(Removal, Option<Commit>), StoreError> {
        let hash = self.shared.keys.peer(peer.as_str().as_bytes());
        let mut index = self.write(now);
        let (slot, was_live) = match index.check_removal(peer, hash, claim, now) {
            RemovalDecision::Granted { slot, is_live } => (slot, is_live),
            RemovalDecision::Held(held) => return Ok((Removal::Held(held), None)),
            RemovalDecision::Unknown => return Ok((Removal::Unknown, None)),
        };
        let mut record = Vec::new();
        index.encode_deregistration(slot, now, &mut record);
        let commit = self.append(&record, || index.undo(peer.as_str(), Some(slot)))?;
        index.deregister(slot, now);
        Ok((Removal::Removed { was_live }, commit))
    }

    /// Ends some of the leases and evicts some of the dormant peers that are due. Returns whether
    /// more is due.
    fn sweep_step(&self, now: Timestamp) -> bool {
        let mut index = self.shared.write();
        index.advance(now, ADVANCE_STEPS, &mut |record| self.append_in_background(record));
        index.is_due(now)
    }

    /// The index, brought up to `now` and locked for reading.
    fn read(&self, now: Timestamp) -> RwLockReadGuard<'_, Index> {
        loop {
            let index = self.shared.index.read();
            if !index.is_due(now) {
                return index;
            }
            drop(index);
            self.sweep_step(now);
        }
    }

    /// The index, brought up to `now` and locked exclusively.
    fn write(&self, now: Timestamp) -> IndexWriteGuard<'_> {
        loop {
            let mut index = self.shared.write();
            index.advance(now, ADVANCE_STEPS, &mut |record| self.append_in_background(record));
            if !index.is_due(now) {
                return index;
            }
        }
    }

    /// Appends a record that a request waits for. `undo` is called only if there is a journal.
    fn append(&self, record: &[u8], undo: impl FnOnce() -> Undo) -> Result<Option<Commit>, StoreError> {
        let append = |journal: &Arc<Journal<Undo>>| journal.append(record, Some(undo()));
        self.journal.as_ref().map(append).transpose().map_err(|error| unavailable(&error))
    }

    /// Appends a record that no request waits for. If it is lost, the next checkpoint contains its
    /// effect.
    fn append_in_background(&self, record: &Record<'_>) {
        let Some(journal) = &self.journal else { return };
        let mut bytes = Vec::with_capacity(Record::HEAD);
        record.encode(&mut bytes);
        if journal.append(&bytes, None).is_err() {
            self.shared.checkpoint_wanted.store(true, Ordering::Relaxed);
        }
    }

    fn check_journal(&self) -> Result<(), StoreError> {
        self.journal.as_ref().map_or(Ok(()), |journal| journal.health()).map_err(|error| unavailable(&error))
    }

    /// Fails if the data directory was removed or replaced. Not even a later checkpoint could then
    /// make a change durable.
    fn check_directory(&self) -> Result<(), StoreError> {
        let health = self.journal.as_ref().map_or(Ok(()), |journal| journal.health());
        health.or_else(|error| if error.is_misplaced() { Err(unavailable(&error)) } else { Ok(()) })
    }

    fn check_open(&self) -> Result<(), StoreError> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable {
                reason: "the store is closed".to_owned(),
                retry_after_seconds: RETRY_AFTER_SECONDS,
            });
        }
        Ok(())
    }
}

/// Waits until the record of a change is durable. Without a journal there is nothing to wait for.
async fn wait_for(commit: Option<Commit>) -> Result<(), StoreError> {
    match commit {
        Some(commit) => commit.await.map_err(|error| unavailable(&error)),
        None => Ok(()),
    }
}

fn unavailable(error: &Unavailable) -> StoreError {
    StoreError::Unavailable { reason: error.reason().to_owned(), retry_after_seconds: RETRY_AFTER_SECONDS }
}
