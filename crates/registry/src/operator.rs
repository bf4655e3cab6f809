//! The operations of operators: evicting peers, and blocking peers, keys and sources.
//!
//! The store keeps the list of blocks as one text. Each process has a copy in memory, and reads the
//! list again every few seconds, because other processes that share the store may have changed it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use aurora_discovery_protocol::{BlockRequest, ListedBlock, PeerId, PublicKey, Subject, Timestamp};

use crate::block::Blocks;
use crate::{Block, BlockList, Claim, Error, Evicted, Registry, Source, StoreError};

/// When the copy of the blocks is this old, in milliseconds, [`Registry::obey_blocks`] reads the
/// blocks again.
const REFRESH_MILLIS: u64 = 5_000;
/// How old the copy may be before a request reads the blocks itself, in milliseconds, if other
/// processes share the store. This is needed in a process that does not call
/// [`Registry::obey_blocks`]. Every block is thus in force in all processes within ten seconds.
const MAX_AGE_MILLIS: u64 = 8_000;
/// The maximum size of the list in bytes: about a thousand blocks. An item of DynamoDB may be
/// larger (400 kB), but each process reads the whole list every few seconds.
const MAX_LIST_BYTES: usize = 128 << 10;
/// The maximum number of attempts to change the list. An attempt fails if another process changes
/// the list at the same time.
const MAX_ATTEMPTS: usize = 16;

/// One process's copy of the list of blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockCopy {
    current: RwLock<Arc<Blocks>>,
    /// Whether there is any block. If there is none, as usual, requests read only this flag.
    any: AtomicBool,
    /// When the copy was read, in milliseconds. Zero if it never was.
    read_at: AtomicU64,
}

impl BlockCopy {
    fn current(&self) -> Arc<Blocks> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, blocks: Blocks, now: Timestamp) {
        let any = !blocks.is_empty();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(blocks);
        self.any.store(any, Relaxed);
        self.read_at.store(now.as_millis(), Relaxed);
    }

    fn was_read(&self) -> bool {
        self.read_at.load(Relaxed) > 0
    }

    /// Whether the copy is at least `millis` old. The absolute difference is compared, because the
    /// clock may have gone back since the copy was read.
    fn is_older(&self, millis: u64, now: Timestamp) -> bool {
        self.read_at.load(Relaxed).abs_diff(now.as_millis()) >= millis
    }
}

impl Registry {
    /// Deletes the peers of a subject, live and dormant, and the locks of their names. Returns the
    /// number of deleted peers.
    ///
    /// # Errors
    /// The store's failure. Some of the peers may have been deleted.
    pub async fn evict(&self, subject: &Subject, now: Timestamp) -> Result<Evicted, Error> {
        Ok(self.store().evict(std::slice::from_ref(subject), now).await?)
    }

    /// Blocks a subject, and deletes its peers. An earlier block of the subject is replaced.
    /// Returns the number of deleted peers. `by` is the name of the operator's API key.
    ///
    /// # Errors
    /// [`Error::TooManyBlocks`], or the store's failure. If only the deletion of the peers failed,
    /// the block is in force nevertheless.
    pub async fn block(&self, request: BlockRequest, by: &str, now: Timestamp) -> Result<Evicted, Error> {
        let BlockRequest { subject, reason, duration } = request;
        let ends_at = self.shown(now) + duration;
        let block = Block { subject: subject.clone(), reason, ends_at, by: by.to_owned() };
        self.change_blocks(&subject, Some(&block), now).await?;
        self.evict(&subject, now).await
    }

    /// Ends the block of a subject.
    ///
    /// # Errors
    /// [`Error::NotBlocked`], or the store's failure.
    pub async fn unblock(&self, subject: &Subject, now: Timestamp) -> Result<(), Error> {
        self.change_blocks(subject, None, now).await
    }

    /// The blocks in force, in the order in which they end.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn blocks(&self, now: Timestamp) -> Result<Vec<ListedBlock>, Error> {
        let now = self.shown(now);
        let blocks = Blocks::parse(&self.store().blocks().await?.text).in_force(now);
        let listed = blocks.into_iter().map(|Block { subject, reason, ends_at, by }| ListedBlock {
            subject,
            reason,
            expires_in_seconds: ends_at.millis_since(now).div_ceil(1_000),
            blocked_by: by.into(),
        });
        Ok(listed.collect())
    }

    /// Reads the blocks again if the copy is more than a few seconds old, and deletes the peers of
    /// all blocks that are not in `enforced`. Then replaces `enforced` by the subjects of the
    /// blocks in force. The owner of the clock calls this about once a second, with `enforced` from
    /// the previous call, or `None` at first. At the first call on a shared store, all blocks in
    /// the list count as enforced. Returns the number of deleted peers.
    ///
    /// Another process may have accepted a peer before it knew of the block. Every running process
    /// therefore deletes the peers of a block as soon as it learns of the block. When the last
    /// process has learned of it, no such peer remains. This also completes the work of a request
    /// that stored a block and ended before it had deleted the peers.
    ///
    /// # Errors
    /// The store's failure.
    pub async fn obey_blocks(
        &self,
        enforced: &mut Option<HashSet<Subject>>,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        if !self.blocks.was_read() || self.blocks.is_older(REFRESH_MILLIS, now) {
            self.read_blocks(now).await?;
        }
        let in_force = self.blocks.current().in_force(self.shown(now));
        let subjects: HashSet<_> = in_force.into_iter().map(|block| block.subject).collect();
        // At the first call, blocks may already be in the list. On a shared store they count as
        // enforced: the process that stored them deletes their peers, and doing it again could read
        // a whole table. If the store belongs to one process, that process may have stopped after
        // storing a block and before deleting the peers, so the peers are deleted now.
        let is_shared = !self.store().sees_every_change();
        let before = enforced.get_or_insert_with(|| match is_shared {
            true => subjects.clone(),
            false => HashSet::new(),
        });
        let new: Vec<_> = subjects.iter().filter(|subject| !before.contains(subject)).cloned().collect();
        let mut evicted = Evicted::default();
        if !new.is_empty() {
            evicted = self.store().evict(&new, now).await?;
        }
        *enforced = Some(subjects);
        Ok(evicted.total())
    }

    /// Refuses a request about a peer if the peer, its key or the source is blocked.
    pub(crate) async fn check_block(
        &self,
        peer: &PeerId,
        key: Option<&PublicKey>,
        source: Source,
        now: Timestamp,
    ) -> Result<(), Error> {
        let may_change = !self.store().sees_every_change();
        if !self.blocks.was_read() || (may_change && self.blocks.is_older(MAX_AGE_MILLIS, now)) {
            self.read_blocks(now).await?;
        }
        self.check_known_block(peer, key, source, now)
    }

    /// Like [`Registry::check_block`], for a request about a peer that may be registered: also
    /// refuses it if the key that locks the name is blocked. Reads this key from the store only if
    /// any key is blocked at all.
    pub(crate) async fn check_block_of_known(
        &self,
        peer: &PeerId,
        source: Source,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.check_block(peer, None, source, now).await?;
        if !self.is_a_key_blocked(now) {
            return Ok(());
        }
        let keys = self.store().locking_keys(std::slice::from_ref(peer), now).await?;
        self.check_known_block(peer, keys.into_iter().flatten().next().as_ref(), source, now)
    }

    /// Like [`Registry::check_block_of_known`], for several peers. Returns the refusal of each
    /// peer, or `None` if it is not refused, in the order of `peers`.
    pub(crate) async fn check_blocks_of_known(
        &self,
        peers: &[(PeerId, Claim)],
        now: Timestamp,
    ) -> Vec<Option<Error>> {
        let mut refusals = Vec::with_capacity(peers.len());
        for (peer, claim) in peers {
            refusals.push(self.check_block(peer, None, claim.source, now).await.err());
        }
        if !self.is_a_key_blocked(now) {
            return refusals;
        }
        let ids: Vec<_> = peers.iter().map(|(peer, _)| peer.clone()).collect();
        let keys = match self.store().locking_keys(&ids, now).await {
            Ok(keys) => keys,
            Err(error) => return vec![Some(error.into()); peers.len()],
        };
        for ((refusal, (peer, claim)), key) in refusals.iter_mut().zip(peers).zip(keys) {
            if let (None, Some(key)) = (&refusal, key) {
                *refusal = self.check_known_block(peer, Some(&key), claim.source, now).err();
            }
        }
        refusals
    }

    fn is_a_key_blocked(&self, now: Timestamp) -> bool {
        self.blocks.any.load(Relaxed) && self.blocks.current().has_keys(self.shown(now))
    }

    /// The number of blocks in force, according to this process's copy of the list.
    pub fn known_blocks(&self, now: Timestamp) -> usize {
        self.blocks.current().in_force(self.shown(now)).len()
    }

    /// Like [`Registry::check_block`], but uses the copy of this process, whatever its age.
    pub(crate) fn check_known_block(
        &self,
        peer: &PeerId,
        key: Option<&PublicKey>,
        source: Source,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.blocks.any.load(Relaxed) {
            return Ok(());
        }
        match self.blocks.current().end_of(peer, key, source, self.shown(now)) {
            Some(until) => Err(Error::Blocked { until }),
            None => Ok(()),
        }
    }

    async fn read_blocks(&self, now: Timestamp) -> Result<(), StoreError> {
        let BlockList { text, .. } = self.store().blocks().await?;
        self.blocks.replace(Blocks::parse(&text), now);
        Ok(())
    }

    /// Sets the block of a subject, or removes it if `block` is `None`. If another process changes
    /// the list at the same time, this method reads the list again and retries.
    async fn change_blocks(
        &self,
        subject: &Subject,
        block: Option<&Block>,
        now: Timestamp,
    ) -> Result<(), Error> {
        for _ in 0..MAX_ATTEMPTS {
            let BlockList { text, version } = self.store().blocks().await?;
            let before = Blocks::parse(&text);
            let in_force = before.in_force(self.shown(now));
            if block.is_none() && !in_force.iter().any(|block| block.subject == *subject) {
                return Err(Error::NotBlocked);
            }
            let after = before.changed(subject, block.cloned(), self.shown(now));
            let text = after.to_text();
            if text.len() > MAX_LIST_BYTES {
                return Err(Error::TooManyBlocks);
            }
            // `replace_blocks` returns `false` if another process has changed the list since it was
            // read. The next attempt applies the change to the new list.
            if self.store().replace_blocks(&text, version).await? {
                self.blocks.replace(after, now);
                return Ok(());
            }
        }
        Err(StoreError::Unavailable {
            reason: "the blocks are being changed by too many concurrent requests".to_owned(),
            retry_after_seconds: 1,
        }
        .into())
    }
}
