//! What all operations share: the table, its secret, and the caches.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Archetype, PeerId, Timestamp};
use aurora_discovery_registry::{Limits, StoreError};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::counters::Counters;
use crate::item::{self, Expression, Generation, Item, Stored};
use crate::lane::{Place, Secret};
use crate::memory::{Dormant, LastCensus, Snapshots};
use crate::options::DynamoOptions;
use crate::recent::{Recent, Written};
use crate::size::Sizes;
use crate::table::{Table, Write};

/// How often an operation restarts because another process changed the peer meanwhile. In each case
/// that other process made progress.
pub(crate) const RACES: u32 = 64;
/// The longest pause after a lost race, in milliseconds, as a power of two. The calls of a
/// registration fit into it.
const LONGEST_RACE_PAUSE: u32 = 6;
/// Number of peers that can change concurrently in one process. Peers that share a lock wait for
/// each other.
const TURNS: usize = 4_096;

/// The implementation of the store.
pub(crate) struct Core {
    pub(crate) table: Table,
    pub(crate) options: DynamoOptions,
    pub(crate) revival_window_millis: u64,
    pub(crate) max_peers: u64,
    pub(crate) recent: Recent,
    pub(crate) sizes: Sizes,
    pub(crate) snapshots: Snapshots,
    pub(crate) dormant: Dormant,
    pub(crate) census: LastCensus,
    secret: OnceCell<Secret>,
    turns: Vec<Mutex<()>>,
}

/// What the table has under a peer's key.
#[derive(Debug)]
pub(crate) enum Standing {
    Nothing,
    /// An item that cannot be parsed as a registration. The next registration replaces it.
    Unreadable(Item),
    /// A peer: live, dormant, or expired and not yet deleted.
    Peer(Box<Stored>),
}

impl Core {
    pub(crate) fn new(table: Table, options: DynamoOptions, limits: &Limits) -> Self {
        Self {
            table,
            options,
            revival_window_millis: limits.revival_window_millis,
            max_peers: limits.max_peers,
            recent: Recent::default(),
            sizes: Sizes::default(),
            snapshots: Snapshots::default(),
            dormant: Dormant::default(),
            census: LastCensus::default(),
            secret: OnceCell::new(),
            turns: std::iter::repeat_with(Mutex::default).take(TURNS).collect(),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.table.counters()
    }

    /// The table's secret. The first store that needs it creates it.
    pub(crate) async fn secret(&self) -> Result<&Secret, StoreError> {
        self.secret.get_or_try_init(|| self.find_secret()).await
    }

    async fn find_secret(&self) -> Result<Secret, StoreError> {
        if let Some(item) = self.table.get(item::table_key()).await? {
            return read_secret(&item);
        }
        let secret = Secret::from_bytes(random()?);
        match self.table.put(item::secret_item(&secret), Expression::absent()).await? {
            Write::Done => Ok(secret),
            Write::Refused(_) => match self.table.get(item::table_key()).await? {
                Some(item) => read_secret(&item),
                None => Err(StoreError::Internal("the table's secret vanished".to_owned())),
            },
        }
    }

    /// Whether the table responds. Reading the secret again checks the permissions that every
    /// operation needs, for one read unit.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.secret().await?;
        self.table.get(item::table_key()).await.map(drop)
    }

    pub(crate) async fn place(&self, peer: &PeerId) -> Result<Place, StoreError> {
        Ok(self.secret().await?.place(peer))
    }

    /// Locks a peer for changes, so that callers in one process do not race each other in the
    /// table.
    pub(crate) async fn turn(&self, place: Place) -> MutexGuard<'_, ()> {
        let turns = u64::try_from(self.turns.len()).unwrap_or(1);
        let turn = usize::try_from(place.0 % turns).unwrap_or(0);
        self.turns[turn].lock().await
    }

    /// What the table currently has under a peer's key.
    pub(crate) async fn standing(&self, peer: &PeerId) -> Result<Standing, StoreError> {
        let item = self.table.get(item::peer_key(peer)).await?;
        Ok(self.judge(item))
    }

    /// What the table has after a write was refused for the `lost`th time, counted from 0. The
    /// first time, the refusal itself includes the item. Later, a random pause keeps two processes
    /// from repeatedly interfering with each other, and then the item is read.
    pub(crate) async fn standing_after(
        &self,
        peer: &PeerId,
        refusal: Option<Item>,
        lost: u32,
    ) -> Result<Standing, StoreError> {
        match refusal {
            Some(item) if lost == 0 => Ok(self.judge(Some(item))),
            _ => {
                let longest = 1_u64 << lost.min(LONGEST_RACE_PAUSE);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..longest))).await;
                self.standing(peer).await
            }
        }
    }

    pub(crate) fn judge(&self, item: Option<Item>) -> Standing {
        match item {
            None => Standing::Nothing,
            Some(item) => match self.read(&item) {
                Some(stored) => Standing::Peer(Box::new(stored)),
                None => Standing::Unreadable(item),
            },
        }
    }

    /// Parses a peer's item. An item that cannot be parsed is counted and logged.
    pub(crate) fn read(&self, item: &Item) -> Option<Stored> {
        Stored::from_item(item).map_err(|error| self.unreadable(item, &error)).ok()
    }

    /// Counts and logs an item that cannot be parsed.
    pub(crate) fn unreadable(&self, item: &Item, error: &item::Unreadable) {
        self.counters().unreadable.add(1);
        let key = item::key_of(item);
        tracing::warn!(?key, %error, "an item can't be read and is passed over");
    }

    /// Reads peers with eventual consistency, but including all recent writes of this process.
    pub(crate) async fn peers_at(
        &self,
        entries: Vec<(Place, PeerId)>,
    ) -> Result<Vec<Arc<Stored>>, StoreError> {
        let mut peers = Vec::with_capacity(entries.len());
        let mut keys = Vec::with_capacity(entries.len());
        // DynamoDB refuses a batch that has a key twice, and stray items can produce two entries
        // for one peer.
        let mut met = HashSet::with_capacity(entries.len());
        for (place, peer) in entries {
            if !met.insert(peer.clone()) {
                continue;
            }
            match self.recent.at(place) {
                Some(Written::Placed(stored)) => peers.push(stored),
                Some(Written::Removed(_)) => {}
                None => keys.push(item::peer_key(&peer)),
            }
        }
        let read = self.table.read_all(keys).await?;
        peers.extend(read.iter().filter_map(|item| self.read(item)).map(Arc::new));
        Ok(peers)
    }

    /// Whether a peer is live and has one of the archetypes.
    pub(crate) fn is_listed(stored: &Stored, archetypes: &[Archetype], now: Timestamp) -> bool {
        stored.is_live(now) && stored.carries(archetypes)
    }
}

/// A new unique generation.
pub(crate) fn new_generation() -> Result<Generation, StoreError> {
    random().map(Generation)
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Internal(format!("the system gave no random bytes: {error}")))?;
    Ok(bytes)
}

fn read_secret(item: &Item) -> Result<Secret, StoreError> {
    item::secret_of(item).map_err(|error| {
        StoreError::Internal(format!(
            "the table's secret can't be read, restore the item \" table\": {error}"
        ))
    })
}
