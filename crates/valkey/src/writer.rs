//! Writes the queued changes to the server in batches, one batch after the other. One call of
//! `commit.lua` writes a batch.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aurora_discovery_embedded::replica::Change;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, RedisResult, Value};

use crate::confirmation::{FIRST_MILLIS, LAST_MILLIS};
use crate::entry::{Nonce, StreamId, bytes};
use crate::failure::{had_no_effect, is_refusal, may_have_taken_effect, unexpected};
use crate::lease;
use crate::queue::{Item, Outcome};
use crate::shared::Shared;

const SCRIPT: &str = include_str!("script/commit.lua");
/// The number of entries that the log keeps, approximately. If each has the largest records that
/// fit into a batch (16 KiB), they take 256 MiB.
const LOG_ENTRIES: u32 = 16_384;
/// The kinds of changes in `commit.lua`.
const CHECK: &str = "check";
const SET: &str = "set";
const EVICT: &str = "evict";
const DELETE: &str = "delete";
/// How long the writer waits after it failed to connect.
const RECONNECT_DELAY: Duration = Duration::from_millis(100);

/// The task that writes the queued changes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    script_hash: String,
    connection: Option<MultiplexedConnection>,
}

/// The reply to a batch.
struct Reply {
    /// The last entry of the log after the batch.
    last: StreamId,
    /// For each item of the batch, whether its condition held.
    holds: Vec<bool>,
    /// Whether the written changes are durable, or why not. `None` if no confirmation was needed:
    /// no change of the batch must be durable, or the options require no confirmation.
    durable: Option<Result<(), String>>,
}

/// Why a batch failed.
enum Failure {
    /// The server refused to execute the script.
    Refused(RedisError),
    /// The connection failed, or a reply was malformed. The script may have been executed.
    Unknown(RedisError),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let script_hash = redis::Script::new(SCRIPT).get_hash().to_owned();
        Self { shared, script_hash, connection: None }
    }

    /// Runs until the task is aborted.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            shared.queue.filled().await;
            // Waits while the follower loads all peers.
            let _guard = shared.write_or_load_lock.lock().await;
            if let Err(error) = self.connect().await {
                self.fail_waiting(&error);
                tokio::time::sleep(RECONNECT_DELAY).await;
                continue;
            }
            self.write_batch().await;
        }
    }

    /// If there is no connection, connects and loads the script into the server, so that each batch
    /// only needs to send the script's hash.
    async fn connect(&mut self) -> RedisResult<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        let mut connection = self.shared.connector.connect(self.shared.options.response_timeout).await?;
        let () = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        self.connection = Some(connection);
        self.shared.counters.connections.add(1);
        Ok(())
    }

    /// Takes the next batch from the queue, and writes it.
    async fn write_batch(&mut self) {
        let nonce = Nonce::random();
        let batch = self.shared.queue.take_batch(nonce);
        // Since the writer saw an item in the queue, the follower may have emptied the queue, or
        // the requests that waited for the items may have been cancelled.
        if batch.is_empty() {
            self.shared.queue.forget(nonce);
            return;
        }
        match self.send(nonce, &batch).await {
            Ok(reply) => self.settle(nonce, batch, &reply).await,
            Err(Failure::Refused(error)) => {
                tracing::warn!(cause = %error, "Valkey refused a batch of changes");
                self.connection = None;
                self.shared.counters.failures.add(1);
                // The changes that still wait were decided after those of the batch, and may depend
                // on them, so they fail as well.
                let outcome = Outcome::Failed(had_no_effect(&error));
                self.revert(|shared| {
                    shared.queue.forget(nonce);
                    let waiting = shared.queue.take_all();
                    shared.queue.finish(batch.into_iter().chain(waiting), &outcome)
                });
            }
            Err(Failure::Unknown(error)) => {
                tracing::warn!(cause = %error, "the connection to Valkey failed during a batch of changes");
                self.connection = None;
                self.shared.counters.failures.add(1);
                self.give_up(nonce, batch, &error);
            }
        }
    }

    /// Sends a batch. If one of its changes must be durable, also waits for the confirmation that
    /// the options require.
    async fn send(&mut self, nonce: Nonce, batch: &[Item]) -> Result<Reply, Failure> {
        let Some(connection) = &mut self.connection else {
            return Err(Failure::Refused(unexpected("there is no connection")));
        };
        let confirmation = self.shared.confirmation().filter(|_| batch.iter().any(Item::must_be_durable));
        let mut pipeline = Pipeline::new();
        let keys = &self.shared.keys;
        pipeline.cmd("EVALSHA").arg(&self.script_hash).arg(4);
        pipeline.arg(&keys.leases).arg(&keys.peers).arg(&keys.log).arg(&keys.head);
        pipeline.arg(nonce.to_string()).arg(LOG_ENTRIES);
        for item in batch {
            push_arguments(&mut pipeline, item);
        }
        let count = 1 + confirmation.map_or(0, |first| first.push_first(&mut pipeline, FIRST_MILLIS));
        let replies = connection.send_packed_commands(&pipeline, 0, count).await.map_err(Failure::Unknown)?;
        let mut replies = replies.into_iter();
        let script = match replies.next() {
            Some(Value::ServerError(error)) => {
                let error = RedisError::from(error);
                return Err(if is_refusal(&error) {
                    Failure::Refused(error)
                } else {
                    Failure::Unknown(error)
                });
            }
            Some(Value::Array(values)) => values,
            _ => return Err(Failure::Unknown(unexpected("the script returned no list"))),
        };
        let mut reply = parse_reply(script, batch.len())
            .ok_or_else(|| Failure::Unknown(unexpected("the script returned another list")))?;
        if let Some(confirmation) = confirmation {
            let mut durable = confirmation.check(replies.last());
            // While the replicas don't confirm, each batch waits for them only shortly, because
            // heartbeats wait for the batches before theirs.
            let last_millis = if self.shared.check_durable().is_ok() { LAST_MILLIS } else { FIRST_MILLIS };
            let mut millis = FIRST_MILLIS;
            // A replica that was asked too early reports its sync as soon as it is asked again.
            while durable.is_err() && millis < last_millis {
                millis *= 2;
                let mut again = Pipeline::new();
                confirmation.push(&mut again, millis);
                let replies =
                    connection.send_packed_commands(&again, 0, 1).await.map_err(Failure::Unknown)?;
                durable = confirmation.check(replies.into_iter().next());
            }
            reply.durable = Some(durable);
        }
        Ok(reply)
    }

    /// Finishes the changes of a batch according to the reply.
    async fn settle(&mut self, nonce: Nonce, batch: Vec<Item>, reply: &Reply) {
        let conflict = Outcome::Conflict(reply.last);
        // The log has an entry only for a batch that has changed something.
        let is_written = batch.iter().zip(&reply.holds).any(|(item, holds)| *holds && item.is_written());
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        for (item, holds) in batch.into_iter().zip(&reply.holds) {
            // An eviction that does not hold is finished too: another process has deleted or
            // changed the peer.
            if *holds || matches!(item, Item::Evict { .. }) { done.push(item) } else { refused.push(item) }
        }
        let conflicts: HashSet<_> = refused.iter().map(|item| item.peer().clone()).collect();
        let settle = |shared: &Shared| {
            if is_written {
                shared.queue.acknowledge(nonce);
            } else {
                shared.queue.forget(nonce);
            }
        };
        if conflicts.is_empty() {
            settle(&self.shared);
        } else {
            self.shared.counters.conflicts.add(conflicts.len() as u64);
            // The waiting changes of the same peers were decided on the basis of the refused
            // changes, so they are reverted too. The store then decides again about all of these
            // changes.
            self.revert(|shared| {
                let waiting = shared.queue.take_of(&conflicts);
                let reverted = shared.queue.finish(refused.into_iter().chain(waiting), &conflict);
                // This must come after `finish`, which needs the queue's record of the peers that
                // the follower has changed. The queue may delete that record once the batch has
                // left `sent`.
                settle(shared);
                reverted
            });
        }
        for item in done {
            let outcome = match &reply.durable {
                Some(Err(cause)) if item.must_be_durable() => Outcome::Failed(may_have_taken_effect(cause)),
                _ => Outcome::Done,
            };
            item.finish(outcome);
        }
        if let Some(durable) = &reply.durable {
            self.shared.set_durable(durable);
        }
    }

    /// Finishes a batch whose effect is unknown. The changes that still wait may depend on it, so
    /// they fail as well.
    ///
    /// If the follower has already seen the entry of the batch in the log, the batch took effect,
    /// and the replica keeps its changes. Otherwise they are reverted. If the entry appears later,
    /// the follower applies it like an entry of another process.
    fn give_up(&self, nonce: Nonce, batch: Vec<Item>, error: &RedisError) {
        let unknown = Outcome::Failed(may_have_taken_effect(&error.to_string()));
        let unwritten = Outcome::Failed(had_no_effect(error));
        self.revert(|shared| {
            let seen = shared.queue.forget(nonce);
            let mut changes = shared.queue.finish(shared.queue.take_all(), &unwritten);
            let of_batch = shared.queue.finish(batch, &unknown);
            match seen {
                None => changes.extend(of_batch),
                Some(true) => {}
                // The replica also has those changes of the batch that the script did not write. A
                // load removes them.
                Some(false) => shared.load_requested.store(true, Relaxed),
            }
            changes
        });
    }

    /// Fails and reverts the changes that wait, because there is no connection.
    fn fail_waiting(&self, error: &RedisError) {
        let outcome = Outcome::Failed(had_no_effect(error));
        self.revert(|shared| shared.queue.finish(shared.queue.take_all(), &outcome));
    }

    /// Reverts the changes that `take` returns, the latest of which must come first. `take` is
    /// called while the index is locked. If the changes can't all be reverted, requests a load.
    fn revert(&self, take: impl FnOnce(&Shared) -> Vec<Change>) {
        if !self.shared.replica.revert(|| take(&self.shared)) {
            self.shared.load_requested.store(true, Relaxed);
        }
    }
}

/// Adds the five arguments of an item, in the order in which `commit.lua` reads them.
fn push_arguments(pipeline: &mut Pipeline, item: &Item) {
    let (kind, expected, lease, record): (_, Vec<u8>, _, &[u8]) = match item {
        Item::Change { change, .. } => {
            let text = |lease: Option<_>| lease.map(lease::to_text).unwrap_or_default();
            let expected = text(change.before.as_ref()).into_bytes();
            if change.is_none() {
                (CHECK, expected, String::new(), &[])
            } else {
                let record = change.record.as_deref().unwrap_or_default();
                (SET, expected, text(change.after.as_ref()), record)
            }
        }
        Item::Evict { lease, .. } => (EVICT, lease::to_text(lease).into_bytes(), String::new(), &[]),
        Item::Delete { lease, .. } => (DELETE, lease.clone(), String::new(), &[]),
    };
    pipeline.arg(kind).arg(item.peer().as_str()).arg(expected).arg(lease).arg(record);
}

/// Parses the reply of the script to a batch with this number of changes.
fn parse_reply(values: Vec<Value>, changes: usize) -> Option<Reply> {
    let mut values = values.into_iter();
    let last = StreamId::parse(&bytes(values.next()?)?)?;
    let holds: Vec<_> = values.map(|value| value == Value::Int(1)).collect();
    (holds.len() == changes).then_some(Reply { last, holds, durable: None })
}
