//! The store: implements the traits of the registry, and ends each operation at its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aurora_discovery_protocol::{MailId, PeerId, PublicKey, Subject, Timestamp};
use aurora_discovery_registry::{
    BlockList, Census, Claim, Delivery, Enumeration, Evicted, ExportPage, Import, KnownPeer, Letter, Limits,
    MailSignal, Mailboxes, Page, PeerState, Position, PutRequest, PutResult, Query, Removal, Renewal, Store,
    StoreClock, StoreError, StoreMetric, Swept,
};
use aws_sdk_dynamodb::Client;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::clock::{DateReader, RESOLUTION};
use crate::core::Core;
use crate::counters::{Counters, Units};
use crate::failure::unavailable;
use crate::options::DynamoOptions;
use crate::table::Table;

/// Number of renewals of one batch that are written concurrently. With this number, a hundred
/// renewals take about seven consecutive round trips, and a batch still leaves capacity of the
/// table for other requests.
const CONCURRENT_RENEWALS: usize = 16;

/// Which of the [`Limits`] a store enforces, for documentation and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `max_peers`: enforced. The number of peers may be an estimate that is up to a minute old.
    pub bounds_peers: bool,
    /// `max_bytes`: not enforced. A table has no maximum size, and `max_peers` bounds its cost.
    pub bounds_bytes: bool,
    /// `max_peers_per_source`: enforced. Up to a hundred peers of a source are counted. Beyond
    /// that, the number is an estimate.
    pub bounds_sources: bool,
    /// `max_peers_per_network` and `max_peers_per_site`: not enforced. Each would cost two more
    /// write units for every registration.
    pub bounds_networks: bool,
    /// `max_peers_per_address` and `max_peers_per_host`: not enforced, for the same reason.
    pub bounds_addresses: bool,
    /// The bound on the peers that one source keeps alive by unproven heartbeats: not enforced,
    /// because each of these heartbeats would have to be written.
    pub bounds_unproven: bool,
    /// `max_archetypes`: not enforced, because the table does not store the number of archetypes.
    pub bounds_archetypes: bool,
    /// Whether totals are always exact, even if more peers match than a page holds. They may be
    /// estimates in a large network.
    pub exact_totals: bool,
}

/// The capabilities of a [`DynamoStore`].
pub const CAPABILITIES: Capabilities = Capabilities {
    bounds_peers: true,
    bounds_bytes: false,
    bounds_sources: true,
    bounds_networks: false,
    bounds_addresses: false,
    bounds_unproven: false,
    bounds_archetypes: false,
    exact_totals: false,
};

/// The store in one DynamoDB table, shared with any number of other processes.
pub struct DynamoStore {
    core: Core,
    counters: Arc<Counters>,
    closed: AtomicBool,
}

impl DynamoStore {
    /// Creates a store on the table that `options` name. The table must exist; see
    /// [`crate::create_table`]. This function makes no calls.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the store keeps the client, with an interceptor that reads the time"
    )]
    pub fn new(client: Client, options: DynamoOptions, limits: &Limits) -> Self {
        let counters = Arc::new(Counters::default());
        let clock = Arc::new(StoreClock::new(RESOLUTION));
        let dated = client.config().to_builder().interceptor(DateReader(Arc::clone(&clock)));
        let client = Client::from_conf(dated.build());
        let table = Table::new(client, options.table.clone(), Arc::clone(&counters));
        Self { core: Core::new(table, clock, options, limits), counters, closed: AtomicBool::new(false) }
    }

    /// The clock of DynamoDB, on which all processes that share the table agree. It takes the time
    /// from DynamoDB's responses, and never from the wall clock of this machine.
    ///
    /// Before the first response it returns the Unix epoch, so call [`Store::health`] first. With
    /// [`DynamoOptions::store_time`], [`Store::sweep`] makes a call to get the time if no other
    /// call has returned it recently.
    pub fn clock(&self) -> impl Fn() -> Timestamp + Send + Sync + Clone + 'static {
        let clock = Arc::clone(&self.core.clock);
        move || clock.now()
    }

    /// The units that were billed so far for the calls of this store.
    pub fn units(&self) -> Units {
        self.counters.units()
    }

    /// Writes registrations in batches, without the checks of [`Store::put`] and without caching
    /// them, into a table that no other process writes to. For tests and benchmarks that need a
    /// large network.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not accept all of them. Some may have been written.
    #[cfg(feature = "stand-in")]
    pub async fn write_unchecked(&self, puts: &[PutRequest], now: Timestamp) -> Result<(), StoreError> {
        self.within_deadline(Box::pin(self.core.write_unchecked(puts, now))).await
    }

    /// The number of items that these registrations would have under each hash key of the index.
    /// Writes none of them.
    ///
    /// # Errors
    /// [`StoreError`] if the store is closed, or if the table's secret can be neither read nor
    /// created.
    #[cfg(feature = "stand-in")]
    pub async fn count_index_keys(
        &self,
        puts: &[PutRequest],
        now: Timestamp,
    ) -> Result<crate::bulk::IndexKeyCounts, StoreError> {
        self.within_deadline(Box::pin(self.core.count_index_keys(puts, now))).await
    }

    /// Runs an operation, and ends it at the deadline. The operation is boxed, because the future
    /// of each async function around it would otherwise contain its whole state.
    async fn within_deadline<T>(
        &self,
        operation: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(unavailable("the store is closed"));
        }
        self.run_until(self.deadline(), operation).await
    }

    /// The same as [`Self::within_deadline`], for an operation that changes peers. If the time
    /// should come from DynamoDB, it fails when no response has told the time for a minute.
    async fn change<T>(&self, operation: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        if self.core.options.store_time && self.core.clock.is_stale() {
            return Err(unavailable("DynamoDB has not told the time for a minute"));
        }
        self.within_deadline(operation).await
    }

    /// The same as [`Self::within_deadline`], for an operation that lists or counts peers. If the
    /// time should come from DynamoDB, it fails until the first response with a time. Unlike for a
    /// change, that time may be old.
    async fn read<T>(&self, operation: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        if self.core.options.store_time && !self.core.clock.is_set() {
            return Err(unavailable("DynamoDB has not told the time yet"));
        }
        self.within_deadline(operation).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.core.options.deadline
    }

    async fn run_until<T>(
        &self,
        deadline: Instant,
        operation: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout_at(deadline, operation).await.unwrap_or_else(|_| {
            self.counters.failures.add(1);
            let millis = self.core.options.deadline.as_millis();
            Err(unavailable(format!("DynamoDB did not respond within {millis} ms")))
        })
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        self.change(Box::pin(self.core.put(put, now))).await
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        self.change(Box::pin(self.core.renew(peer, claim, now))).await
    }

    async fn renew_many(
        &self,
        peers: &[(PeerId, Claim)],
        now: Timestamp,
    ) -> Vec<Result<Renewal, StoreError>> {
        // All renewals have the same deadline. Those that have not completed by then fail as
        // unavailable.
        let deadline = self.deadline();
        let ids = peers.iter().map(|(peer, _)| peer);
        let lookups = match self.change(Box::pin(self.core.look_up_all(ids))).await {
            Ok(lookups) => lookups,
            Err(error) => return vec![Err(error); peers.len()],
        };
        // The peers were read in batches. Each renewal that needs a write is now written
        // separately.
        let mut renewals = Vec::with_capacity(peers.len());
        for ((peer, claim), lookup) in peers.iter().zip(lookups) {
            let renewal = self.core.renew_from(peer, claim, lookup, now);
            renewals.push(self.run_until(deadline, Box::pin(renewal)));
        }
        stream::iter(renewals).buffered(CONCURRENT_RENEWALS).collect().await
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        self.change(Box::pin(self.core.remove(peer, claim, now))).await
    }

    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError> {
        let mut evicted = Evicted::default();
        for subject in subjects {
            if let Subject::Peer(peer) = subject {
                let one = self.change(Box::pin(self.core.evict_peer(peer, subjects, now))).await?;
                evicted = evicted.plus(one);
            }
        }
        if subjects.iter().all(|subject| matches!(subject, Subject::Peer(_))) {
            return Ok(evicted);
        }
        // There may be many pages, so each of them has its own deadline.
        let mut start = None;
        loop {
            let page = self.core.evict_page(subjects, start, now);
            let (found, next) = self.change(Box::pin(page)).await?;
            evicted = evicted.plus(found);
            if next.is_none() {
                return Ok(evicted);
            }
            start = next;
        }
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        self.read(Box::pin(self.core.locking_keys(peers, now))).await
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        self.within_deadline(Box::pin(self.core.blocks())).await
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        self.within_deadline(Box::pin(self.core.replace_blocks(text, version))).await
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        self.read(Box::pin(self.core.sample(query, now))).await
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        self.read(Box::pin(self.core.enumerate(query, after, now))).await
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        self.read(Box::pin(self.core.census(archetypes, now))).await
    }

    async fn sweep(&self, _now: Timestamp) -> Result<Swept, StoreError> {
        self.within_deadline(Box::pin(self.core.sweep())).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.within_deadline(Box::pin(self.core.check())).await
    }

    async fn export(&self, after: Option<&Position>, _now: Timestamp) -> Result<ExportPage, StoreError> {
        self.within_deadline(Box::pin(self.core.export(after))).await
    }

    async fn import(&self, peer: PeerState, now: Timestamp) -> Result<Import, StoreError> {
        self.change(Box::pin(self.core.import(peer, now))).await
    }

    fn mailboxes(&self) -> Option<&dyn Mailboxes> {
        Some(self)
    }

    fn sees_every_change(&self) -> bool {
        false
    }

    async fn shared_secret(&self) -> Result<Option<[u8; 32]>, StoreError> {
        self.within_deadline(Box::pin(async { Ok(Some(self.core.secret().await?.of_nonces())) })).await
    }

    fn metrics(&self) -> Vec<StoreMetric> {
        self.counters.metrics()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

#[async_trait]
impl Mailboxes for DynamoStore {
    async fn peer(&self, peer: &PeerId, now: Timestamp) -> Result<Option<KnownPeer>, StoreError> {
        self.read(Box::pin(self.core.known_peer(peer, now))).await
    }

    async fn deliver(&self, to: &PeerId, letter: Letter, now: Timestamp) -> Result<Delivery, StoreError> {
        self.change(Box::pin(async { self.core.deliver(to, &letter, now).await })).await
    }

    async fn collect(
        &self,
        peer: &PeerId,
        acknowledged: &[MailId],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError> {
        self.change(Box::pin(self.core.collect(peer, acknowledged, now))).await
    }

    fn signal(&self, _: &PeerId) -> Option<Box<dyn MailSignal>> {
        None
    }
}
