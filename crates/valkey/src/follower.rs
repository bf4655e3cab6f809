//! Reads the log of changes and applies them to the replica, which is this process's copy of all
//! peers in memory. The replica thus gets the changes of all processes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use aurora_discovery_embedded::replica::{Applied, Change, RemoteState};
use aurora_discovery_protocol::PeerId;
use aurora_discovery_registry::Moment;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use tokio::time::Instant;

use crate::entry::{LogEntry, LoggedChange, Nonce, StreamId, array, bytes, peer_id};
use crate::failure::{unavailable, unexpected};
use crate::lease;
use crate::queue::Outcome;
use crate::shared::Shared;

/// How long the server waits for an entry before it responds that there is none, in milliseconds.
/// After the follower has sent a request that reads the log to its end, the replica counts as
/// current for `MAX_LAG`. That is much longer than this wait, so the replica stays current while
/// nothing changes.
const BLOCK_MILLIS: u64 = 1_000;
/// The maximum number of entries of each stream in one response.
const MAX_ENTRIES: usize = 256;
/// How many peers the server returns for each `HSCAN`, approximately.
const SCAN_COUNT: usize = 1_000;
const RECONNECT_DELAY: Duration = Duration::from_millis(200);

/// The task that reads the log.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    /// `None` until all peers have been loaded.
    last: Option<LastEntry>,
    /// Whether the follower has read the log up to its end since it loaded all peers. Before that,
    /// the replica may have changes whose entries come after `last`.
    has_caught_up: bool,
    /// The last entry that was read from the stream of arrived messages.
    last_arrival: StreamId,
}

/// The last entry of the log that the replica has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastEntry {
    id: StreamId,
    /// `None` if the log has no entries.
    nonce: Option<Nonce>,
}

impl Follower {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, last: None, has_caught_up: false, last_arrival: StreamId::default() }
    }

    /// Runs until the task is aborted.
    pub(crate) async fn run(mut self) {
        loop {
            if let Err(error) = self.follow().await {
                tracing::warn!(cause = %error, "can't read the log of changes in Valkey; connecting again");
            }
            tokio::time::sleep(RECONNECT_DELAY).await;
        }
    }

    /// Reads the log over one connection, until the connection fails.
    async fn follow(&mut self) -> RedisResult<()> {
        // The response to `XREAD` may take as long as the server waits for an entry.
        let timeout = self.shared.options.response_timeout + Duration::from_millis(BLOCK_MILLIS);
        let mut connection = self.shared.connector.connect(timeout).await?;
        self.sample_time(&mut connection).await?;
        // The follower continues after the last arrival that it has read, so that it wakes the
        // requests whose messages arrived while it was not connected. If the primary is now another
        // server, its stream may end before that arrival.
        self.last_arrival = self.last_arrival.min(self.newest_arrival(&mut connection).await?);
        if !self.has_caught_up || !self.log_has_last(&mut connection).await? {
            self.load(&mut connection).await?;
        }
        loop {
            if self.shared.load_requested.load(Relaxed) {
                self.load(&mut connection).await?;
            }
            if self.shared.clock.needs_sample() {
                self.sample_time(&mut connection).await?;
            }
            self.read(&mut connection).await?;
        }
    }

    /// Reads the entries that were added to the log since the last call and applies them. Also
    /// wakes the requests whose messages have arrived since then. If there is nothing new, the
    /// server waits up to [`BLOCK_MILLIS`].
    async fn read(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let Some(last) = self.last else { return Err(unexpected("no peers were read")) };
        let (asked_at, unseen) = (Instant::now(), self.shared.queue.unseen());
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_ENTRIES).arg("BLOCK").arg(BLOCK_MILLIS);
        command.arg("STREAMS").arg(&self.shared.keys.log).arg(&self.shared.keys.arrivals);
        command.arg(last.id.to_string()).arg(self.last_arrival.to_string());
        let (mut entries, mut arrivals) = (Vec::new(), Vec::new());
        let reply = connection.send_packed_command(&command).await?;
        for (stream, new) in streams_of(reply).ok_or_else(|| unexpected("XREAD returned no entries"))? {
            if stream == self.shared.keys.log.as_bytes() { entries = new } else { arrivals = new }
        }
        self.wake(arrivals);
        let is_all = entries.len() < MAX_ENTRIES;
        for entry in entries {
            let Some(mut entry) = LogEntry::parse(entry) else {
                // It is unknown which peers the entry changed, so all peers are loaded.
                self.shared.counters.unreadable.add(1);
                return self.load(connection).await;
            };
            if entry.previous != self.last.and_then(|last| last.nonce) {
                tracing::warn!(entry = %entry.id, "the log lacks entries; reading all peers again");
                return self.load(connection).await;
            }
            self.shared.queue.mark_seen(&mut entry);
            self.apply(connection, &entry).await?;
            self.advance(LastEntry { id: entry.id, nonce: Some(entry.nonce) });
        }
        if is_all && self.shared.queue.lacks_any(&unseen) {
            // A server acknowledged these batches before this read, but the log, which was read up
            // to its end, does not contain them. There are two possible reasons. Another server has
            // become the primary without these batches, so their changes are lost. Or the writer is
            // already connected to a new primary, while this connection still leads to the old one.
            // In both cases, the follower connects again and then loads all peers.
            self.last = None;
            return Err(unexpected("the log lacks changes of this process"));
        }
        if is_all {
            self.has_caught_up = true;
            self.shared.set_current(asked_at);
        }
        Ok(())
    }

    /// Wakes the requests that wait for messages to the receivers that these entries name.
    fn wake(&mut self, arrivals: Vec<Value>) {
        for (id, peer) in arrivals.into_iter().filter_map(arrival) {
            self.last_arrival = self.last_arrival.max(id);
            peer.iter().for_each(|peer| self.shared.replica.mail_arrived(peer));
        }
    }

    /// The id of the newest entry of the stream of arrivals. Zero if the stream is empty.
    async fn newest_arrival(&self, connection: &mut MultiplexedConnection) -> RedisResult<StreamId> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.shared.keys.arrivals).arg("+").arg("-").arg("COUNT").arg(1);
        let reply = connection.send_packed_command(&command).await?;
        let newest = array(reply).and_then(|entries| entries.into_iter().next()).and_then(arrival);
        Ok(newest.map(|(id, _)| id).unwrap_or_default())
    }

    /// Records that the replica has the log up to this entry, and wakes the requests that wait for
    /// this entry after a conflict.
    fn advance(&mut self, last: LastEntry) {
        self.last = Some(last);
        self.shared.position.send_replace(last.id);
    }

    /// Applies the changes of an entry to the replica.
    async fn apply(&self, connection: &mut MultiplexedConnection, entry: &LogEntry) -> RedisResult<()> {
        for (id, value) in &entry.changes {
            let (Some(peer), Some(change)) = (peer_id(id), LoggedChange::parse(value)) else {
                self.skip(id);
                continue;
            };
            let state = match &change {
                LoggedChange::Peer(lease, record) => RemoteState::Peer(lease, record),
                LoggedChange::Lease(lease) => RemoteState::Lease(lease),
                LoggedChange::Deleted => RemoteState::Deleted,
            };
            match self.shared.apply(&peer, state) {
                Applied::Done => {}
                Applied::Unreadable => self.skip(id),
                // The entry has a new lease but no record. The replica needs the record, for
                // example because it evicted the peer just before another process revived it.
                Applied::UnknownRegistration => self.read_peer(connection, &peer).await?,
            }
        }
        Ok(())
    }

    /// Loads one peer from the server.
    async fn read_peer(&self, connection: &mut MultiplexedConnection, peer: &PeerId) -> RedisResult<()> {
        match stored_peer(connection, &self.shared, peer).await? {
            (Some(lease), Some(record)) => self.load_peer(peer.as_str().as_bytes(), &lease, &record),
            _ => _ = self.shared.apply(peer, RemoteState::Deleted),
        }
        Ok(())
    }

    /// Whether the log on the server still has the last entry that the replica has. If not, the log
    /// was trimmed, or this server never had that entry. Also false if the replica has no entry.
    async fn log_has_last(&self, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        let Some(LastEntry { id, nonce: Some(nonce) }) = self.last else { return Ok(false) };
        let mut command = redis::cmd("XRANGE");
        command.arg(&self.shared.keys.log).arg(id.to_string()).arg(id.to_string());
        let reply = connection.send_packed_command(&command).await?;
        let entry = array(reply).and_then(|entries| entries.into_iter().next()).and_then(LogEntry::parse);
        Ok(entry.is_some_and(|entry| entry.nonce == nonce))
    }

    /// Loads all peers, and makes the replica equal to the server.
    ///
    /// The writer of this process does not write during that time, but other processes may. Their
    /// changes come after the entry that was the last one when the load began. The follower
    /// continues from that entry, so it applies these changes after the load. Some of them were
    /// loaded already and are applied twice.
    async fn load(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let shared = Arc::clone(&self.shared);
        shared.set_outdated();
        let _guard = shared.write_or_load_lock.lock().await;
        shared.counters.loads.add(1);
        // The writer requests a load only while it holds the lock. This load, which begins later, is
        // therefore the one that was requested.
        shared.load_requested.store(false, Relaxed);
        // The result does not matter: a peer that can't be reverted is loaded below.
        let _ = shared.replica.revert(|| self.fail_waiting());
        shared.queue.forget_all();
        // If this method fails, the follower calls it again after it has reconnected.
        (self.last, self.has_caught_up) = (None, false);
        let started = Instant::now();
        let last = self.last_entry(connection).await?;
        let mut stored = HashSet::new();
        let mut cursor = b"0".to_vec();
        loop {
            let mut command = redis::cmd("HSCAN");
            command.arg(&shared.keys.leases).arg(&cursor).arg("COUNT").arg(SCAN_COUNT);
            let reply = connection.send_packed_command(&command).await?;
            let (next, leases) = scanned(reply).ok_or_else(|| unexpected("HSCAN returned no leases"))?;
            self.load_peers(connection, &leases, &mut stored).await?;
            cursor = next;
            if cursor == b"0" {
                break;
            }
        }
        // The server has no other peers, so the replica drops all others.
        shared.replica.retain(|id| stored.contains(id));
        shared.queue.outdate_all_reloads();
        // Decisions that were made in the meantime were made on a replica that was partly loaded.
        // Reverting them could undo what was loaded, so their peers are read again instead.
        for change in self.fail_waiting() {
            self.read_peer(connection, &change.peer).await?;
        }
        self.advance(last);
        shared.set_current(started);
        tracing::info!(
            peers = stored.len(),
            millis = started.elapsed().as_millis(),
            "read all peers from Valkey"
        );
        Ok(())
    }

    /// Fails the decisions that wait in the queue, because they were made on a replica that is
    /// outdated, or only partly loaded. Returns those whose peers the follower has not changed
    /// since the decision, the latest first.
    fn fail_waiting(&self) -> Vec<Change> {
        let outcome = Outcome::Failed(unavailable("all peers are read again from Valkey"));
        self.shared.queue.finish(self.shared.queue.take_all(), &outcome)
    }

    /// The last entry of the log on the server.
    async fn last_entry(&self, connection: &mut MultiplexedConnection) -> RedisResult<LastEntry> {
        let mut command = redis::cmd("XREVRANGE");
        command.arg(&self.shared.keys.log).arg("+").arg("-").arg("COUNT").arg(1);
        let reply = connection.send_packed_command(&command).await?;
        let entries = array(reply).ok_or_else(|| unexpected("XREVRANGE returned no entries"))?;
        let Some(entry) = entries.into_iter().next() else {
            return Ok(LastEntry { id: StreamId::default(), nonce: None });
        };
        let entry =
            LogEntry::parse(entry).ok_or_else(|| unexpected("the last entry of the log is not readable"))?;
        Ok(LastEntry { id: entry.id, nonce: Some(entry.nonce) })
    }

    /// Loads the peers with these leases, and adds their ids to `stored`.
    async fn load_peers(
        &self,
        connection: &mut MultiplexedConnection,
        leases: &[(Vec<u8>, Vec<u8>)],
        stored: &mut HashSet<String>,
    ) -> RedisResult<()> {
        if leases.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(&self.shared.keys.peers);
        for (id, _) in leases {
            command.arg(id);
        }
        let reply = connection.send_packed_command(&command).await?;
        let records = array(reply).ok_or_else(|| unexpected("HMGET returned no records"))?;
        for ((id, lease), record) in leases.iter().zip(records) {
            self.load_peer(id, lease, &bytes(record).unwrap_or_default());
            stored.extend(String::from_utf8(id.clone()).ok());
        }
        Ok(())
    }

    /// Applies the stored lease and record of a peer to the replica. Skips a peer that can't be
    /// parsed.
    fn load_peer(&self, id: &[u8], lease: &[u8], record: &[u8]) {
        let Some((peer, lease)) = peer_id(id).zip(lease::parse(lease)) else { return self.skip(id) };
        if self.shared.apply(&peer, RemoteState::Peer(&lease, record)) == Applied::Unreadable {
            self.skip(id);
        }
    }

    /// Counts and logs a peer that can't be parsed.
    fn skip(&self, id: &[u8]) {
        self.shared.counters.unreadable.add(1);
        let peer = String::from_utf8_lossy(id);
        tracing::warn!(%peer, "skipped a peer in Valkey that can't be parsed");
    }

    /// Reads the time of the server, which all processes use.
    async fn sample_time(&self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        let sent = Moment::now();
        let (seconds, micros): (u64, u32) = redis::cmd("TIME").query_async(connection).await?;
        let server_time = Duration::from_secs(seconds) + Duration::from_micros(micros.into());
        self.shared.clock.observe(server_time, sent, Moment::now());
        Ok(())
    }
}

/// The lease and the record of a peer, as stored.
pub(crate) async fn stored_peer(
    connection: &mut MultiplexedConnection,
    shared: &Shared,
    peer: &PeerId,
) -> RedisResult<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("HGET").arg(&shared.keys.leases).arg(peer.as_str());
    pipeline.cmd("HGET").arg(&shared.keys.peers).arg(peer.as_str());
    pipeline.query_async(connection).await
}

/// The streams with new entries in a reply to `XREAD`, and their entries.
fn streams_of(reply: Value) -> Option<Vec<(Vec<u8>, Vec<Value>)>> {
    if reply == Value::Nil {
        return Some(Vec::new());
    }
    let stream = |stream: Value| {
        let [name, entries] = <[Value; 2]>::try_from(array(stream)?).ok()?;
        Some((bytes(name)?, array(entries)?))
    };
    array(reply)?.into_iter().map(stream).collect()
}

/// Parses an entry of the stream of arrivals: its id, and the receiver of the message, if that is
/// the id of a peer.
fn arrival(entry: Value) -> Option<(StreamId, Option<PeerId>)> {
    let [id, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
    let receiver = array(fields)?.into_iter().nth(1).and_then(bytes);
    Some((StreamId::parse(&bytes(id)?)?, receiver.and_then(|peer| peer_id(&peer))))
}

/// The cursor for the next `HSCAN`, and the names and values of fields of the hash.
type Scanned = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>);

/// Parses the reply to `HSCAN`.
fn scanned(reply: Value) -> Option<Scanned> {
    let [cursor, fields] = <[Value; 2]>::try_from(array(reply)?).ok()?;
    let mut fields = array(fields)?.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        pairs.push((bytes(name)?, bytes(value)?));
    }
    Some((bytes(cursor)?, pairs))
}
