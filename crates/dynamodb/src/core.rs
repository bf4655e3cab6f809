//! What all operations share: the table, its secret, and the caches.

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

/// Maximum number of attempts of an operation whose conditional write fails because another process
/// changed the peer. Each failed attempt means that the other process made progress.
pub(crate) const MAX_ATTEMPTS: u32 = 64;
/// The longest pause between two attempts, in milliseconds, as a power of two. 64 ms are enough for
/// the calls of one registration.
const MAX_PAUSE_EXPONENT: u32 = 6;
/// Number of locks for peers that are being changed. Each peer is assigned one by its hash. Peers
/// that share a lock wait for each other.
const LOCKS: usize = 4_096;

/// The implementation of the store.
pub(crate) struct Core {
    pub(crate) table: Table,
    pub(crate) options: DynamoOptions,
    pub(crate) revival_window_millis: u64,
    pub(crate) max_peers: u64,
    pub(crate) max_peers_per_source: u32,
    /// The size of the largest page in bytes, and the most that reading it may cost, in half read units.
    page_bytes: usize,
    pub(crate) max_page_half_units: u64,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) recent: RecentWrites,
    pub(crate) newcomers: Newcomers,
    pub(crate) sizes: SizeEstimates,
    pub(crate) snapshots: SnapshotCache,
    pub(crate) dormant: DormantPeers,
    pub(crate) last_census: LastCensus,
    secret: OnceCell<Secret>,
    locks: Vec<Mutex<()>>,
}

/// What the table has under a peer's key.
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

    /// The table's secret. The first store that needs it creates it.
    pub(crate) async fn secret(&self) -> Result<&Secret, StoreError> {
        self.secret.get_or_try_init(|| self.read_or_create_secret()).await
    }

    async fn read_or_create_secret(&self) -> Result<Secret, StoreError> {
        if let Some(item) = self.table.get(item::table_key()).await? {
            return read_secret(&item);
        }
        // The condition makes one of several concurrent processes the creator. The others read its
        // secret.
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

    /// Whether the table responds. Reading the secret again checks the permissions that every
    /// operation needs, for one read unit.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.secret().await?;
        self.table.get(item::table_key()).await.map(drop)
    }

    pub(crate) async fn position(&self, peer: &PeerId) -> Result<RingPosition, StoreError> {
        Ok(self.secret().await?.position(peer))
    }

    /// Locks a peer for changes, so that requests in one process do not compete for it in the
    /// table.
    pub(crate) async fn lock(&self, position: RingPosition) -> MutexGuard<'_, ()> {
        let count = u64::try_from(self.locks.len()).unwrap_or(1);
        let chosen = usize::try_from(position.lock(count)).unwrap_or(0);
        self.locks[chosen].lock().await
    }

    /// What the table currently has under a peer's key.
    pub(crate) async fn look_up(&self, peer: &PeerId) -> Result<Lookup, StoreError> {
        let item = self.table.get(item::peer_key(peer)).await?;
        Ok(self.classify(item))
    }

    /// What the table has after the conditional write of an attempt was refused. `attempt` counts
    /// from 0. The first time, the refusal itself includes the item. Later, a random pause keeps
    /// two processes from repeatedly interfering with each other, and then the item is read.
    pub(crate) async fn look_up_again(
        &self,
        peer: &PeerId,
        refusal: Option<Item>,
        attempt: u32,
    ) -> Result<Lookup, StoreError> {
        let item = self.read_again(item::peer_key(peer), refusal, attempt).await?;
        Ok(self.classify(item))
    }

    /// The same for an item of any kind.
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

    pub(crate) fn classify(&self, item: Option<Item>) -> Lookup {
        match item {
            None => Lookup::Absent,
            Some(item) => match self.parse_peer(&item) {
                Some(stored) => Lookup::Found(Box::new(stored)),
                None => Lookup::Unreadable(item),
            },
        }
    }

    /// Parses a peer's item. An item that cannot be parsed is counted and logged.
    pub(crate) fn parse_peer(&self, item: &Item) -> Option<StoredPeer> {
        StoredPeer::from_item(item).map_err(|error| self.report_unreadable(item, &error)).ok()
    }

    /// Counts and logs an item that cannot be parsed.
    pub(crate) fn report_unreadable(&self, item: &Item, error: &item::ItemError) {
        self.counters().unreadable_items.add(1);
        let key = item::key_of(item);
        tracing::warn!(?key, %error, "skipped an item that cannot be parsed");
    }

    /// Reads peers with eventual consistency, but including all recent writes of this process. Also
    /// returns what reading them cost, in half read units.
    pub(crate) async fn read_peers(
        &self,
        entries: Vec<(RingPosition, PeerId)>,
    ) -> Result<(Vec<Arc<StoredPeer>>, u64), StoreError> {
        let mut peers = Vec::with_capacity(entries.len());
        let mut keys = Vec::with_capacity(entries.len());
        // DynamoDB rejects a batch that contains a key twice, and leftover items can produce two
        // entries for one peer.
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

    /// An empty page. What may be spent on it is in proportion to its size.
    pub(crate) fn page<'q>(&self, query: &'q Query, now: Timestamp) -> PageBuilder<'q> {
        let [bytes, most] = [query.page_bytes, self.page_bytes].map(to_u64);
        PageBuilder::new(query, scale(self.max_page_half_units, bytes, most), now)
    }

    /// Whether a peer is live and has one of the archetypes.
    pub(crate) fn is_listed(stored: &StoredPeer, archetypes: &[Archetype], now: Timestamp) -> bool {
        stored.is_live(now) && stored.has_any_of(archetypes)
    }
}

/// A new unique generation.
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
