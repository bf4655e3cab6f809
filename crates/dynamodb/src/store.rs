//! The store: every verb within its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aurora_protocol::{PeerId, Timestamp};
use aurora_registry::{
    Census, Claim, Enumeration, Figure, Limits, Page, Placement, Position, Put, Query, Removal, Renewal,
    Store, StoreError, Swept,
};
use aws_sdk_dynamodb::Client;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use crate::core::Core;
use crate::counters::{Counters, Units};
use crate::failure::unavailable;
use crate::options::DynamoOptions;
use crate::table::Table;

/// How many of the renewals of one call are written at once: a hundred take some round trips, and no call has the table for itself.
const RENEWALS_AT_ONCE: usize = 16;

/// Which bounds of [`Limits`] a store keeps, for whoever documents or tests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `max_peers`: kept, by an estimate that may be a minute old.
    pub bounds_peers: bool,
    /// `max_bytes`: not kept. A table has no bound, and the bill is bounded by `max_peers`.
    pub bounds_bytes: bool,
    /// `max_peers_per_source`: not kept. A count per source would be written with every registration.
    pub bounds_sources: bool,
    /// `max_peers_per_address`: not kept, for the same reason.
    pub bounds_addresses: bool,
    /// `max_archetypes`: not kept. An archetype costs no more than its peers' markers.
    pub bounds_archetypes: bool,
    /// Whether totals are exact where a page does not hold all that match: in small networks only.
    pub exact_totals: bool,
}

/// What a [`DynamoStore`] can do.
pub const CAPABILITIES: Capabilities = Capabilities {
    bounds_peers: true,
    bounds_bytes: false,
    bounds_sources: false,
    bounds_addresses: false,
    bounds_archetypes: false,
    exact_totals: false,
};

/// The store on one DynamoDB table, shared with any number of other processes.
pub struct DynamoStore {
    core: Core,
    counters: Arc<Counters>,
    closed: AtomicBool,
}

impl DynamoStore {
    /// A store on the table that `options` name, which must exist; see [`crate::create_table`]. Nothing is called yet.
    pub fn new(client: Client, options: DynamoOptions, limits: &Limits) -> Self {
        let counters = Arc::new(Counters::default());
        let table = Table::new(client, options.table.clone(), Arc::clone(&counters));
        Self { core: Core::new(table, options, limits), counters, closed: AtomicBool::new(false) }
    }

    /// The units that this store's calls were billed so far.
    pub fn units(&self) -> Units {
        self.counters.units()
    }

    /// Writes registrations into a table that nobody else writes to, by no rule and with nothing remembered: for tests and
    /// benchmarks that need a large network.
    ///
    /// # Errors
    /// [`StoreError`] if the table does not take them all; some may have been written.
    #[cfg(feature = "stand-in")]
    pub async fn fill(&self, puts: &[Put], now: Timestamp) -> Result<(), StoreError> {
        self.within_deadline(Box::pin(self.core.fill(puts, now))).await
    }

    /// Under which keys of the index registrations would lie, and how many under each; nothing is written.
    ///
    /// # Errors
    /// [`StoreError`] if the table's secret can't be read.
    #[cfg(feature = "stand-in")]
    pub async fn spread(&self, puts: &[Put], now: Timestamp) -> Result<crate::fill::IndexKeys, StoreError> {
        self.within_deadline(Box::pin(self.core.spread(puts, now))).await
    }

    /// Carries a verb out within the deadline; boxed, since each layer around it would hold a copy of it otherwise.
    async fn within_deadline<T>(&self, verb: BoxFuture<'_, Result<T, StoreError>>) -> Result<T, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(unavailable("the store is closed"));
        }
        self.until(self.deadline(), verb).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.core.options.deadline
    }

    async fn until<T>(
        &self,
        deadline: Instant,
        verb: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout_at(deadline, verb).await.unwrap_or_else(|_| {
            self.counters.failures.add(1);
            let given = self.core.options.deadline.as_millis();
            Err(unavailable(format!("DynamoDB did not answer within {given} ms")))
        })
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn put(&self, put: Put, now: Timestamp) -> Result<Placement, StoreError> {
        self.within_deadline(Box::pin(self.core.put(put, now))).await
    }

    async fn renew(&self, peer: &PeerId, now: Timestamp) -> Result<Renewal, StoreError> {
        self.within_deadline(Box::pin(self.core.renew(peer, now))).await
    }

    async fn renew_many(&self, peers: &[PeerId], now: Timestamp) -> Vec<Result<Renewal, StoreError>> {
        // One deadline for all: what was answered by then is answered, and the rest is unavailable.
        let deadline = self.deadline();
        let standings = match self.within_deadline(Box::pin(self.core.standings(peers))).await {
            Ok(standings) => standings,
            Err(error) => return vec![Err(error); peers.len()],
        };
        let mut renewals = Vec::with_capacity(peers.len());
        for (peer, standing) in peers.iter().zip(standings) {
            renewals.push(self.until(deadline, Box::pin(self.core.renew_standing(peer, standing, now))));
        }
        stream::iter(renewals).buffered(RENEWALS_AT_ONCE).collect().await
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        self.within_deadline(Box::pin(self.core.remove(peer, claim, now))).await
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        self.within_deadline(Box::pin(self.core.sample(query, now))).await
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        self.within_deadline(Box::pin(self.core.enumerate(query, after, now))).await
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        self.within_deadline(Box::pin(self.core.census(archetypes, now))).await
    }

    async fn sweep(&self, _now: Timestamp) -> Result<Swept, StoreError> {
        self.within_deadline(Box::pin(self.core.sweep())).await
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.within_deadline(Box::pin(self.core.check())).await
    }

    fn sees_every_change(&self) -> bool {
        false
    }

    fn figures(&self) -> Vec<Figure> {
        self.counters.figures()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}
