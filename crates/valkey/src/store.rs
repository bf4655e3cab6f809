//! The store. It decides about a change on the replica, which is this process's copy of all peers
//! in memory, and waits until the writer has written the change to the server.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_trait::async_trait;
use aurora_discovery_embedded::replica::{Applied, Change, RemoteState};
use aurora_discovery_protocol::{Archetype, MailId, PeerId, PublicKey, Subject, Timestamp};
use aurora_discovery_registry::{
    ArchetypeCensus, BlockList, Census, Changes, Claim, Delivery, Delta, Enumeration, Evicted, ExportPage,
    Import, KnownPeer, Letter, Limits, MailSignal, Mailboxes, Page, PeerState, Position, PositionLookup,
    PutRequest, PutResult, Query, Removal, Renewal, Store, StoreError, StoreMetric, Swept, Watch,
};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::blocks;
use crate::check::{check_layout, check_permissions, check_server};
use crate::entry::StreamId;
use crate::failure::{OpenError, unavailable};
use crate::follower::{Follower, stored_peer};
use crate::lease;
use crate::mail;
use crate::options::ValkeyOptions;
use crate::queue::Outcome;
use crate::shared::Shared;
use crate::writer::Writer;

/// How long the first load of all peers may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);
/// The number of conflicts after which the store reads the peer of a change from the server. After
/// the first conflict, it only waits until the follower has read the other process's change from
/// the log. If there is another conflict, the peer on the server may be one that can't be parsed.
const CONFLICTS_BEFORE_RELOAD: u32 = 2;

/// The store on a Valkey server, shared with any number of other processes.
pub struct ValkeyStore {
    shared: Arc<Shared>,
    secret: [u8; 32],
    tasks: [JoinHandle<()>; 2],
}

impl ValkeyStore {
    /// Connects, checks that the server's settings permit what the store promises, and loads all
    /// peers. Loading may take at most two minutes. Must be called in a Tokio runtime. `limits`
    /// must be those of the registry that uses the store.
    ///
    /// # Errors
    /// Fails if the server can't be reached or used, or if loading takes too long. [`OpenError`]
    /// describes the problem to the operator.
    pub async fn open(options: ValkeyOptions, limits: Limits) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(options, limits)?);
        let mut connection = shared.connector.connect(shared.options.response_timeout).await?;
        check_server(&mut connection, &shared.options).await?;
        check_permissions(&mut connection, &shared.keys).await?;
        let secret = check_layout(&mut connection, &shared.keys).await?;
        let tasks = [
            tokio::spawn(Follower::new(Arc::clone(&shared)).run()),
            tokio::spawn(Writer::new(Arc::clone(&shared)).run()),
        ];
        let store = Self { shared, secret, tasks };
        let loaded = async {
            while store.shared.check_current().is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let too_slow = |_| OpenError("reading all peers from Valkey took too long".to_owned());
        tokio::time::timeout(LOAD_TIMEOUT, loaded).await.map_err(too_slow)?;
        Ok(store)
    }

    /// A function that returns the time of the server, on which all processes that share the server
    /// agree. It never uses the wall clock of this machine.
    pub fn clock(&self) -> impl Fn() -> Timestamp + Send + Sync + Clone + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.clock.now()
    }

    /// Decides about a request for a peer. Waits until the server has confirmed that the peer is still
    /// as the decision assumes, and has written the change, if there is one. `decide` applies the
    /// change to the replica and passes the change to its argument, which queues it. If another
    /// process has changed the peer, this waits until the replica has that change, and decides again.
    async fn change<T>(
        &self,
        peer: &PeerId,
        durable: bool,
        decide: impl Fn(&mut dyn FnMut(Change)) -> T + Send + Sync,
    ) -> Result<T, StoreError>
    where
        T: Send,
    {
        let mut conflicts = 0;
        loop {
            self.shared.check_current()?;
            self.check_room()?;
            let mut outcome = None;
            let result = decide(&mut |change| outcome = Some(self.queue(change, durable)));
            // Only the import of a peer that is known already makes no decision that the server has
            // to check.
            let Some(outcome) = outcome else { return Ok(result) };
            match outcome.await {
                Ok(Outcome::Done) => return Ok(result),
                Ok(Outcome::Conflict(last)) => {
                    conflicts += 1;
                    self.wait_for_entry(last).await;
                    if conflicts >= CONFLICTS_BEFORE_RELOAD {
                        self.reload_peer(peer).await?;
                    }
                }
                Ok(Outcome::Failed(error)) => return Err(error),
                Err(_) => return Err(unavailable("the store is closed")),
            }
        }
    }

    /// Searches one part of the replica, which begins at `from`, and deletes the peers there that
    /// belong to `subjects`. Returns how many it deleted, and where the next part begins. If
    /// another process has changed some of these peers in the meantime, the same part is searched
    /// again.
    async fn evict_some(
        &self,
        subjects: &[Subject],
        from: u32,
        now: Timestamp,
    ) -> Result<(Evicted, Option<u32>), StoreError> {
        self.check_room()?;
        let mut evicted = Evicted::default();
        loop {
            let mut outcomes = Vec::new();
            let next = self.shared.replica.evict(subjects, from, now, |change, count| {
                outcomes.push((change.peer.clone(), count, self.queue(change, true)));
            });
            let mut is_complete = true;
            for (peer, count, outcome) in outcomes {
                match outcome.await {
                    Ok(Outcome::Done) => evicted = evicted.plus(count),
                    Ok(Outcome::Conflict(last)) => {
                        is_complete = false;
                        self.wait_for_entry(last).await;
                        self.reload_peer(&peer).await?;
                    }
                    Ok(Outcome::Failed(error)) => return Err(error),
                    Err(_) => return Err(unavailable("the store is closed")),
                }
            }
            if is_complete {
                return Ok((evicted, next));
            }
        }
    }

    /// Refuses a request if too many changes wait already.
    fn check_room(&self) -> Result<(), StoreError> {
        if self.shared.queue.is_full() {
            return Err(unavailable("too many requests wait for Valkey"));
        }
        Ok(())
    }

    /// Queues a change. Before it, queues the evictions since the last call, some of which may have
    /// made room for the change.
    fn queue(&self, change: Change, durable: bool) -> oneshot::Receiver<Outcome> {
        self.shared.queue.evict(self.shared.replica.take_evicted());
        let durable = durable && !change.is_none();
        self.shared.queue.push(change, durable)
    }

    /// Waits until the replica has the log up to this entry.
    async fn wait_for_entry(&self, entry: StreamId) {
        let mut position = self.shared.position.subscribe();
        // Waiting fails only if the sender is dropped, and the sender lives as long as the store.
        let _ = position.wait_for(|position| *position >= entry).await;
    }

    /// Reads a peer from the server into the replica, unless the replica gets a newer state of
    /// the peer in the meantime. A peer that can't be parsed is deleted on the server, so that its name
    /// can be registered again.
    async fn reload_peer(&self, peer: &PeerId) -> Result<(), StoreError> {
        let shared = &self.shared;
        let reload = shared.queue.reload(peer.clone());
        let mut connection =
            shared.connection.connect(shared).await.map_err(|error| shared.connection.failed(&error))?;
        let stored = stored_peer(&mut connection, shared, peer).await;
        let (stored, record) = stored.map_err(|error| shared.connection.failed(&error))?;
        let lease = stored.as_deref().and_then(lease::parse);
        let state = match &lease {
            Some(lease) => RemoteState::Peer(lease, record.as_deref().unwrap_or_default()),
            None => RemoteState::Deleted,
        };
        let applied = shared.replica.apply(peer, state, || reload.begin(peer));
        if let Some(stored) = stored.filter(|_| lease.is_none() || applied != Applied::Done) {
            // The outcome does not matter: if another process has changed or deleted the peer, the
            // next attempt of the change detects that.
            let _ = shared.queue.delete(peer.clone(), stored).await;
        }
        Ok(())
    }

    /// Runs an operation, and fails when the deadline of the options passes. A change that was
    /// queued may then still be written.
    async fn within_deadline<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.shared.options.deadline;
        // The operation is boxed, because the future of each caller would otherwise contain its
        // whole state.
        tokio::time::timeout_at(deadline, Box::pin(operation)).await.unwrap_or_else(|_| {
            let millis = self.shared.options.deadline.as_millis();
            Err(unavailable(format!(
                "Valkey did not confirm the change within {millis} ms; it may have taken effect"
            )))
        })
    }

    /// Ends the tasks, and fails the changes that wait.
    fn stop(&self) {
        self.shared.closed.store(true, Relaxed);
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.queue.close();
    }
}

impl Drop for ValkeyStore {
    fn drop(&mut self) {
        self.stop();
    }
}

#[async_trait]
impl Store for ValkeyStore {
    async fn put(&self, put: PutRequest, now: Timestamp) -> Result<PutResult, StoreError> {
        let peer = put.registration.peer_id.clone();
        let decide = |queue: &mut dyn FnMut(Change)| self.shared.replica.put(put.clone(), now, queue);
        self.within_deadline(self.change(&peer, true, decide)).await
    }

    async fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Renewal, StoreError> {
        let decide = |queue: &mut dyn FnMut(Change)| self.shared.replica.renew(peer, claim, now, queue);
        self.within_deadline(self.change(peer, false, decide)).await
    }

    async fn renew_many(
        &self,
        peers: &[(PeerId, Claim)],
        now: Timestamp,
    ) -> Vec<Result<Renewal, StoreError>> {
        // All renewals are queued before the first one is awaited, so that the writer can send them
        // in one batch.
        join_all(peers.iter().map(|(peer, claim)| self.renew(peer, claim, now))).await
    }

    async fn remove(&self, peer: &PeerId, claim: &Claim, now: Timestamp) -> Result<Removal, StoreError> {
        let decide = |queue: &mut dyn FnMut(Change)| self.shared.replica.remove(peer, claim, now, queue);
        self.within_deadline(self.change(peer, true, decide)).await
    }

    async fn evict(&self, subjects: &[Subject], now: Timestamp) -> Result<Evicted, StoreError> {
        let (mut evicted, mut from) = (Evicted::default(), Some(0));
        while let Some(first) = from {
            self.shared.check_current()?;
            let (some, next) = self.within_deadline(self.evict_some(subjects, first, now)).await?;
            (evicted, from) = (evicted.plus(some), next);
        }
        Ok(evicted)
    }

    async fn locking_keys(
        &self,
        peers: &[PeerId],
        now: Timestamp,
    ) -> Result<Vec<Option<PublicKey>>, StoreError> {
        self.shared.check_current()?;
        self.shared.replica.peers().locking_keys(peers, now).await
    }

    async fn blocks(&self) -> Result<BlockList, StoreError> {
        self.within_deadline(blocks::read(&self.shared)).await
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> Result<bool, StoreError> {
        self.within_deadline(blocks::replace(&self.shared, text, version)).await
    }

    async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        let now = self.shared.time_for_lists(now)?;
        self.shared.replica.peers().sample(query, now).await
    }

    async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        let now = self.shared.time_for_lists(now)?;
        self.shared.replica.peers().enumerate(query, after, now).await
    }

    async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        let now = self.shared.time_for_lists(now)?;
        self.shared.replica.peers().census(archetypes, now).await
    }

    async fn sweep(&self, now: Timestamp) -> Result<Swept, StoreError> {
        let now = self.shared.time_for_lists(now)?;
        let swept = self.shared.replica.peers().sweep(now).await?;
        self.shared.queue.evict(self.shared.replica.take_evicted());
        Ok(swept)
    }

    async fn health(&self) -> Result<(), StoreError> {
        self.shared.check_current()?;
        self.shared.check_durable()
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.shared.check_current()
    }

    fn sees_every_change(&self) -> bool {
        false
    }

    fn archetype_census(&self, archetype: &Archetype, now: Timestamp) -> Option<ArchetypeCensus> {
        let now = self.shared.time_for_lists(now).ok()?;
        self.shared.replica.peers().archetype_census(archetype, now)
    }

    async fn export(&self, after: Option<&Position>, now: Timestamp) -> Result<ExportPage, StoreError> {
        self.shared.check_current()?;
        self.shared.replica.peers().export(after, now).await
    }

    async fn import(&self, peer: PeerState, now: Timestamp) -> Result<Import, StoreError> {
        let id = peer.registration.peer_id.clone();
        let decide = |queue: &mut dyn FnMut(Change)| self.shared.replica.import(peer.clone(), now, queue);
        self.within_deadline(self.change(&id, true, decide)).await
    }

    fn metrics(&self) -> Vec<StoreMetric> {
        [self.shared.counters.metrics(), self.shared.replica.peers().metrics()].concat()
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }

    fn mailboxes(&self) -> Option<&dyn Mailboxes> {
        Some(self)
    }

    async fn shared_secret(&self) -> Result<Option<[u8; 32]>, StoreError> {
        Ok(Some(self.secret))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.stop();
        Ok(())
    }
}

impl Changes for ValkeyStore {
    fn head(&self, now: Timestamp) -> Result<Position, StoreError> {
        self.shared.replica.peers().head(self.shared.time_for_lists(now)?)
    }

    fn delta(
        &self,
        query: &Query,
        after: &Position,
        now: Timestamp,
    ) -> Result<PositionLookup<Delta>, StoreError> {
        self.shared.replica.peers().delta(query, after, self.shared.time_for_lists(now)?)
    }

    fn watch(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<PositionLookup<Box<dyn Watch>>, StoreError> {
        self.shared.replica.peers().watch(query, after, self.shared.time_for_lists(now)?)
    }
}

#[async_trait]
impl Mailboxes for ValkeyStore {
    async fn peer(&self, peer: &PeerId, now: Timestamp) -> Result<Option<KnownPeer>, StoreError> {
        self.shared.check_current()?;
        self.shared.replica.peers().peer(peer, now).await
    }

    async fn deliver(&self, to: &PeerId, letter: Letter, now: Timestamp) -> Result<Delivery, StoreError> {
        self.shared.check_current()?;
        self.within_deadline(mail::deliver(&self.shared, to, &letter, now)).await
    }

    async fn collect(
        &self,
        peer: &PeerId,
        acknowledged: &[MailId],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError> {
        self.shared.check_current()?;
        self.within_deadline(mail::collect(&self.shared, peer, acknowledged, now)).await
    }

    fn signal(&self, peer: &PeerId) -> Option<Box<dyn MailSignal>> {
        self.shared.replica.peers().signal(peer)
    }
}
