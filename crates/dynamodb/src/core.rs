//! The state that all operations share (the table, its secret, the caches), and the helpers that
//! several of them use.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Archetype, PeerId, Timestamp};
use aurora_discovery_registry::{Limits, Query, StoreClock, StoreError};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::cache::{DormantPeers, LastCensus, SnapshotCache};
use crate::counters::Counters;
use crate::estimate::{SizeEstimates, scale, to_u64};
use crate::expression::Expression;
use crate::item::{self, Generation, Item, StoredPeer};
use crate::lane::{RingPosition, Secret};
use crate::options::DynamoOptions;
use crate::page::PageBuilder;
use crate::recent::{RecentWrite, RecentWrites};
use crate::source_bound::Newcomers;
use crate::table::{Table, WriteOutcome};

/// Maximum number of attempts of an operation whose conditional write is refused because another
/// process has changed the item. The operation fails if this many changes by other processes
/// succeed meanwhile.
pub(crate) const MAX_ATTEMPTS: u32 = 64;
/// The longest pause between two attempts is two to the power of this number, in milliseconds.
/// Within 64 ms, another process can complete the calls of one registration.
const MAX_PAUSE_EXPONENT: u32 = 6;
/// Number of locks for changes of peers. The ring position of a peer selects its lock. Changes of
/// peers with the same lock wait for each other.
const LOCKS: usize = 4_096;

/// The implementation of the store.
pub(crate) struct Core {
    pub(crate) table: Table,
    pub(crate) options: DynamoOptions,
    pub(crate) revival_window_millis: u64,
    pub(crate) max_peers: u64,
    pub(crate) max_peers_per_source: u32,
    /// The maximum size of a page, in bytes.
    page_bytes: usize,
    /// The maximum cost of reading a page of `page_bytes`, in half read units.
    pub(crate) max_page_half_units: u64,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) recent: RecentWrites,
    pub(crate) newcomers: Newcomers,
    pub(crate) sizes: SizeEstimates,
    pub(crate) snapshots: SnapshotCache,
    pub(crate) dormant: DormantPeers,
    pub(crate) last_census: LastCensus,
    /// The table's secret, once it has been read or created.
    secret: OnceCell<Secret>,
    /// See [`Core::lock`].
    locks: Vec<Mutex<()>>,
}

/// What the table contains under a peer's key.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// There is no item.
    Absent,
    /// An item that cannot be parsed as a registration. The next registration replaces it.
    Unreadable(Item),
    /// A peer: live, dormant, or expired and not yet deleted.
    Found(Box<StoredPeer>),
}

impl Core {
    pub(crate) fn new(table: Table, clock: Arc<StoreClock>, options: DynamoOptions, limits: &Limits) -> Self {
        Self {
            table,
            options,
            revival_window_millis: limits.revival_window_millis,
            max_peers: limits.max_peers,
            max_peers_per_source: limits.max_peers_per_source,
            page_bytes: limits.page_bytes,
            max_page_half_units: u64::from(limits.page_read_units.unwrap_or(u32::MAX)) * 2,
            clock,
            recent: RecentWrites::default(),
            newcomers: Newcomers::default(),
            sizes: SizeEstimates::default(),
            snapshots: SnapshotCache::default(),
            dormant: DormantPeers::default(),
            last_census: LastCensus::default(),
            secret: OnceCell::new(),
            locks: std::iter::repeat_with(Mutex::default).take(LOCKS).collect(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.table.counters()
    }

    /// The table's secret. It is read once, and created if the table does not have one yet.
    pub(crate) async fn secret(&self) -> Result<&Secret, StoreError> {
        self.secret.get_or_try_init(|| self.read_or_create_secret()).await
    }

    async fn read_or_create_secret(&self) -> Result<Secret, StoreError> {
        if let Some(item) = self.table.get(item::table_key()).await? {
            return read_secret(&item);
        }
        // If several processes try this at once, the condition lets one of them write its secret.
        // The others read that secret.
        let secret = Secret::from_bytes(random_bytes()?);
        match self.table.put(item::secret_item(&secret), Expression::absent()).await? {
            WriteOutcome::Done => Ok(secret),
            WriteOutcome::Refused(_) => match self.table.get(item::table_key()).await? {
                Some(item) => read_secret(&item),
                None => Err(StoreError::Internal(
                    "the item \" table\" with the table's secret was deleted while it was read".to_owned(),
                )),
            },
        }
    }

    /// Checks that the table responds, by reading the item with the secret. It calls GetItem, as
    /// most operations do, and costs one read unit.
    ///
    /// # Errors
    /// [`StoreError`] if a call fails, or if the secret can be neither read nor created.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.secret().await?;
        self.table.get(item::table_key()).await.map(drop)
    }

    pub(crate) async fn position(&self, peer: &PeerId) -> Result<RingPosition, StoreError> {
        Ok(self.secret().await?.position(peer))
    }

    /// Locks a peer for changes. Requests of this process that change the same peer then wait for
    /// each other. Without the lock, the write of one would make the conditional writes of the
    /// others fail.
    pub(crate) async fn lock(&self, position: RingPosition) -> MutexGuard<'_, ()> {
        let count = u64::try_from(self.locks.len()).unwrap_or(1);
        let chosen = usize::try_from(position.lock(count)).unwrap_or(0);
        self.locks[chosen].lock().await
    }

    /// Reads a peer's item with strong consistency.
    pub(crate) async fn look_up(&self, peer: &PeerId) -> Result<Lookup, StoreError> {
        let item = self.table.get(item::peer_key(peer)).await?;
        Ok(self.classify(item))
    }

    /// The current contents of a peer's item, after its conditional write was refused.
    ///
    /// `refusal` is the item that the refusal contained, if there was one, and `attempt` is the
    /// number of the refused attempt, from 0. After the first attempt, the item in the refusal is
    /// used, if there is one. Otherwise the item is read again after a random pause. Without the
    /// pause, two processes could keep making each other's conditional writes fail.
    pub(crate) async fn look_up_again(
        &self,
        peer: &PeerId,
        refusal: Option<Item>,
        attempt: u32,
    ) -> Result<Lookup, StoreError> {
        let item = self.read_again(item::peer_key(peer), refusal, attempt).await?;
        Ok(self.classify(item))
    }

    /// The same as [`Core::look_up_again`], for an item of any kind.
    pub(crate) async fn read_again(
        &self,
        key: Item,
        refusal: Option<Item>,
        attempt: u32,
    ) -> Result<Option<Item>, StoreError> {
        match refusal {
            Some(item) if attempt == 0 => Ok(Some(item)),
            _ => {
                let longest = 1_u64 << attempt.min(MAX_PAUSE_EXPONENT);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..longest))).await;
                self.table.get(key).await
            }
        }
    }

    /// Parses the item that was read under a peer's key, if there is one.
    pub(crate) fn classify(&self, item: Option<Item>) -> Lookup {
        match item {
            None => Lookup::Absent,
            Some(item) => match self.parse_peer(&item) {
                Some(stored) => Lookup::Found(Box::new(stored)),
                None => Lookup::Unreadable(item),
            },
        }
    }

    /// Parses a peer's item. If that is not possible, counts and logs the item.
    pub(crate) fn parse_peer(&self, item: &Item) -> Option<StoredPeer> {
        StoredPeer::from_item(item).map_err(|error| self.report_unreadable(item, &error)).ok()
    }

    /// Counts and logs an item that cannot be parsed.
    pub(crate) fn report_unreadable(&self, item: &Item, error: &item::ItemError) {
        self.counters().unreadable_items.add(1);
        let key = item::key_of(item);
        tracing::warn!(?key, %error, "skipped an item that cannot be parsed");
    }

    /// Reads the peers of index entries, in any order, and without those that no longer exist. Also
    /// returns the cost of the read, in half read units.
    ///
    /// The read has eventual consistency, but a recent write of this process takes precedence over
    /// what the table returns.
    pub(crate) async fn read_peers(
        &self,
        entries: Vec<(RingPosition, PeerId)>,
    ) -> Result<(Vec<Arc<StoredPeer>>, u64), StoreError> {
        let mut peers = Vec::with_capacity(entries.len());
        let mut keys = Vec::with_capacity(entries.len());
        // DynamoDB rejects a batch that contains a key twice. A peer has two index entries if one
        // of them is left over, for example from before the table's secret was replaced.
        let mut distinct = HashSet::with_capacity(entries.len());
        for (position, peer) in entries {
            if !distinct.insert(peer.clone()) {
                continue;
            }
            match self.recent.get(position) {
                Some(RecentWrite::Stored(stored)) => peers.push(stored),
                Some(RecentWrite::Removed(_)) => {}
                None => keys.push(item::peer_key(&peer)),
            }
        }
        let (read, half_units) = self.table.read_all(keys).await?;
        peers.extend(read.iter().filter_map(|item| self.parse_peer(item)).map(Arc::new));
        Ok((peers, half_units))
    }

    /// An empty page for a query. The maximum cost of reading the page is proportional to the
    /// maximum size in bytes that the query permits.
    pub(crate) fn page<'q>(&self, query: &'q Query, now: Timestamp) -> PageBuilder<'q> {
        let [bytes, most] = [query.page_bytes, self.page_bytes].map(to_u64);
        PageBuilder::new(query, scale(self.max_page_half_units, bytes, most), now)
    }

    /// Whether a peer is live and has any of the archetypes. If `archetypes` is empty, every live
    /// peer matches.
    pub(crate) fn is_listed(stored: &StoredPeer, archetypes: &[Archetype], now: Timestamp) -> bool {
        stored.is_live(now) && stored.has_any_of(archetypes)
    }
}

/// A new random generation, which no other registration has.
pub(crate) fn new_generation() -> Result<Generation, StoreError> {
    random_bytes().map(Generation)
}

fn random_bytes<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        StoreError::Internal(format!("the operating system returned no random bytes: {error}"))
    })?;
    Ok(bytes)
}

fn read_secret(item: &Item) -> Result<Secret, StoreError> {
    item::secret_of(item).map_err(|error| {
        StoreError::Internal(format!(
            "the table's secret cannot be parsed; restore the item with the key \" table\": {error}"
        ))
    })
}
