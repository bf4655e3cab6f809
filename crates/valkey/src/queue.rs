//! The queue between the store, which decides about changes, and the writer, which sends them to
//! the server in batches. The queue also records which entries of the log this process has written.

mod item;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use aurora_discovery_embedded::replica::{Change, LeaseState};
use aurora_discovery_protocol::PeerId;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::entry::{LogEntry, Nonce};
use crate::failure::unavailable;

pub(crate) use item::{Item, Outcome};

/// The maximum number of decisions in a batch, and also that of evictions. The script of a batch
/// then blocks the server for about a millisecond at most.
const MAX_BATCH: usize = 128;
/// The maximum number of bytes of all records in a batch. A single change may have more.
const MAX_BATCH_BYTES: usize = 16 << 10;

/// Requests are refused while this many decisions wait. At the usual rate, the writer takes that
/// many within a second.
const MAX_WAITING: usize = 16_384;
/// After the queue has pruned its record of overtaken peers, it prunes the record again only when
/// it has at least this many entries.
const MIN_PRUNED: usize = 1_024;

/// The queue of the writer. The store adds a decision while it holds the lock of the index, so the
/// decisions are in the order in which they were made.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    /// The decisions that wait, and the deletions of peers that can't be parsed.
    waiting: VecDeque<Item>,
    /// The evictions that wait, by their peers. Their number is not bounded, because decisions
    /// about other peers do not wait behind them.
    evictions: BTreeMap<PeerId, Eviction>,
    /// Whether evictions are sent even if no decision waits. [`Queue::evict`], which the store
    /// calls for each decision and each sweep, sets this if any evictions wait. When a batch with
    /// evictions has failed, [`Queue::finish`] clears it, so that the writer does not send the same
    /// evictions again and again.
    evictions_due: bool,
    /// The last number that was assigned. Each item and each reload gets the next number.
    added: u64,
    /// The peers that are being reloaded, by the numbers of [`Queue::reload`].
    reloads: HashMap<u64, Reloading>,
    /// For each peer that the follower or a reload has changed while decisions waited or were being
    /// written: the last number assigned at that moment. A decision about the peer with that number
    /// or a lower one must not be reverted, because that would undo the follower's change. If the
    /// server writes such a decision after all, the decision comes after the follower's change in
    /// the log, and the follower applies it again.
    overtaken: HashMap<PeerId, u64>,
    /// The size of `overtaken` at which the entries that no decision needs are deleted.
    prune_at: usize,
    /// The batches that this process has sent to the server, by the nonces of their entries in the
    /// log. The replica in memory has most changes of these entries already, and the follower
    /// applies only the others ([`Queue::mark_seen`]). An acknowledged batch is removed when the
    /// follower has also seen its entry. Either may happen first. A batch that failed, or that
    /// changed nothing, is removed at once.
    sent: HashMap<Nonce, Sent>,
    closed: bool,
}

/// An eviction that waits.
struct Eviction {
    lease: LeaseState,
    number: u64,
}

/// A peer that is being reloaded.
struct Reloading {
    peer: PeerId,
    /// Whether the replica has got a newer state of the peer since the reload began.
    is_stale: bool,
}

/// A batch that was sent, and what has happened to it.
struct Sent {
    /// The lowest number of its items.
    first: u64,
    /// The changes that the script makes if all conditions hold, in order.
    changes: Vec<SentChange>,
    /// `None` until the follower has read the entry of the batch in the log. Then, whether the
    /// entry has all changes of the batch, apart from evictions.
    is_complete: Option<bool>,
    /// Whether the server has replied that at least one of the changes was written.
    acknowledged: bool,
}

/// A change of a batch that was sent.
struct SentChange {
    peer: PeerId,
    number: u64,
    is_eviction: bool,
}

/// A peer that is being reloaded from the server.
pub(crate) struct Reload<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Reload<'_> {
    /// Begins to apply the reloaded state to the replica, unless the replica has got a newer one in
    /// the meantime. Returns whether the state may be applied. Must be called while the index is
    /// locked.
    pub(crate) fn begin(&self, peer: &PeerId) -> bool {
        let is_stale =
            self.queue.state.lock().reloads.get(&self.number).is_some_and(|reloading| reloading.is_stale);
        if !is_stale {
            self.queue.overtake(peer);
        }
        !is_stale
    }
}

impl Drop for Reload<'_> {
    fn drop(&mut self) {
        self.queue.state.lock().reloads.remove(&self.number);
    }
}

impl SentChange {
    fn of(item: &Item) -> Self {
        let is_eviction = matches!(item, Item::Evict { .. });
        Self { peer: item.peer().clone(), number: item.number(), is_eviction }
    }
}

impl State {
    fn is_overtaken(&self, peer: &PeerId, number: u64) -> bool {
        self.overtaken.get(peer).is_some_and(|newest| number <= *newest)
    }

    /// Marks the reloads of a peer as stale.
    fn outdate_reloads(&mut self, peer: &[u8]) {
        let of_peer =
            self.reloads.values_mut().filter(|reloading| reloading.peer.as_str().as_bytes() == peer);
        of_peer.for_each(|reloading| reloading.is_stale = true);
    }

    /// Deletes the entries of `overtaken` that are not needed any more: no eviction of the peer
    /// waits, all decisions up to the number of the entry are finished, and the follower has seen
    /// the batches of these decisions.
    fn prune(&mut self) {
        let waiting = self.waiting.front().map(Item::number);
        let sent = self.sent.values().map(|sent| sent.first);
        let oldest = sent.chain(waiting).min().unwrap_or(u64::MAX);
        self.overtaken.retain(|peer, newest| *newest >= oldest || self.evictions.contains_key(peer));
        self.prune_at = MIN_PRUNED.max(2 * self.overtaken.len());
    }
}

impl Queue {
    /// Adds a change. The returned receiver gets its outcome. `durable` says whether the server
    /// must confirm that the change is durable before the request gets a response.
    pub(crate) fn push(&self, change: Change, durable: bool) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.add(|number| Item::Change { change, durable, number, done });
        outcome
    }

    /// Whether at least [`MAX_WAITING`] decisions wait. Requests must then be refused.
    pub(crate) fn is_full(&self) -> bool {
        self.state.lock().waiting.len() >= MAX_WAITING
    }

    /// Adds the deletion of dormant peers that the replica has evicted, with their leases. All
    /// evictions that wait are then sent.
    pub(crate) fn evict(&self, peers: Vec<(PeerId, LeaseState)>) {
        let mut state = self.state.lock();
        for (peer, lease) in peers {
            state.added += 1;
            let number = state.added;
            state.evictions.insert(peer, Eviction { lease, number });
        }
        state.evictions_due = !state.evictions.is_empty();
        if state.evictions_due {
            self.filled.notify_one();
        }
    }

    /// Begins to reload a peer. Until the returned value is dropped, it tells whether the replica has
    /// got a newer state of the peer in the meantime.
    pub(crate) fn reload(&self, peer: PeerId) -> Reload<'_> {
        let mut state = self.state.lock();
        state.added += 1;
        let number = state.added;
        state.reloads.insert(number, Reloading { peer, is_stale: false });
        Reload { queue: self, number }
    }

    /// Marks all reloads as stale, because the replica has just loaded all peers.
    pub(crate) fn outdate_all_reloads(&self) {
        self.state.lock().reloads.values_mut().for_each(|reloading| reloading.is_stale = true);
    }

    /// Adds the deletion of a peer that can't be parsed, with its lease as stored.
    pub(crate) fn delete(&self, peer: PeerId, lease: Vec<u8>) -> oneshot::Receiver<Outcome> {
        let (done, outcome) = oneshot::channel();
        self.add(|number| Item::Delete { peer, lease, number, done });
        outcome
    }

    fn add(&self, item: impl FnOnce(u64) -> Item) {
        // When the queue is closed, the item is dropped, and with it the sender of its outcome. The
        // request then fails, because the store is closed.
        let mut state = self.state.lock();
        if !state.closed {
            state.added += 1;
            let item = item(state.added);
            state.waiting.push_back(item);
            drop(state);
            self.filled.notify_one();
        }
    }

    /// Waits until the queue has an item to send.
    pub(crate) async fn filled(&self) {
        loop {
            {
                let state = self.state.lock();
                if !state.waiting.is_empty() || state.evictions_due {
                    return;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes the items of the next batch, and records the batch as sent under this nonce.
    ///
    /// An eviction comes before the decisions about the same peer that were made after it, because
    /// they depend on it. Evictions on which no decision of the batch depends come last.
    pub(crate) fn take_batch(&self, nonce: Nonce) -> Vec<Item> {
        let mut state = self.state.lock();
        let (mut bytes, mut needed, mut batch) = (0, 0, Vec::new());
        while let Some(item) = state.waiting.front() {
            if item.is_abandoned() {
                state.waiting.pop_front();
                continue;
            }
            bytes += item.bytes();
            if batch.len() - needed == MAX_BATCH || (bytes > MAX_BATCH_BYTES && !batch.is_empty()) {
                break;
            }
            let (peer, number) = (item.peer().clone(), item.number());
            if let Entry::Occupied(eviction) = state.evictions.entry(peer)
                && eviction.get().number < number
            {
                let (peer, Eviction { lease, number }) = eviction.remove_entry();
                batch.push(Item::Evict { peer, lease, number });
                needed += 1;
            }
            batch.extend(state.waiting.pop_front());
        }
        for _ in needed..MAX_BATCH {
            let Some((peer, Eviction { lease, number })) = state.evictions.pop_first() else { break };
            batch.push(Item::Evict { peer, lease, number });
        }
        let first = batch.iter().map(Item::number).min().unwrap_or(u64::MAX);
        let changes = batch.iter().filter(|item| item.is_written()).map(SentChange::of).collect();
        state.evictions_due = !state.evictions.is_empty();
        state.sent.insert(nonce, Sent { first, changes, is_complete: None, acknowledged: false });
        batch
    }

    /// Takes the waiting decisions about these peers. Both these and the others keep their order.
    pub(crate) fn take_of(&self, peers: &HashSet<PeerId>) -> Vec<Item> {
        let mut state = self.state.lock();
        let (of_peers, others) =
            std::mem::take(&mut state.waiting).into_iter().partition(|item| peers.contains(item.peer()));
        state.waiting = others;
        Vec::from(of_peers)
    }

    /// Takes all waiting decisions, in order. Evictions stay, because they do not depend on any
    /// decision: the script compares the lease.
    pub(crate) fn take_all(&self) -> Vec<Item> {
        Vec::from(std::mem::take(&mut self.state.lock().waiting))
    }

    /// Sends `outcome` to the requests of these items. The decisions among the items must be in the
    /// order in which they were added. Returns the decisions to revert, the latest first. The
    /// evictions among the items wait again.
    pub(crate) fn finish(&self, items: impl IntoIterator<Item = Item>, outcome: &Outcome) -> Vec<Change> {
        let mut state = self.state.lock();
        let mut changes = Vec::new();
        for item in items {
            if let Item::Evict { peer, lease, number } = item {
                // A newer eviction of the peer stays.
                state.evictions.entry(peer).or_insert(Eviction { lease, number });
                state.evictions_due = false;
            } else if let Some((number, change)) = item.finish(outcome.clone())
                && !state.is_overtaken(&change.peer, number)
            {
                changes.push(change);
            }
        }
        changes.reverse();
        changes
    }

    /// Records that the follower or a reload changes a peer in the replica. The caller must hold
    /// the lock of the index, so that no decision is made in the meantime.
    pub(crate) fn overtake(&self, peer: &PeerId) {
        let mut state = self.state.lock();
        state.outdate_reloads(peer.as_str().as_bytes());
        if state.waiting.is_empty() && state.sent.is_empty() && state.evictions.is_empty() {
            state.overtaken.clear();
            return;
        }
        if state.overtaken.len() >= state.prune_at {
            state.prune();
        }
        let newest = state.added;
        state.overtaken.insert(peer.clone(), newest);
    }

    /// If this process has sent the batch of an entry, marks the batch as seen in the log, and
    /// removes from the entry the changes that the replica has already. The replica lacks a change
    /// of the batch only if the follower or a reload has changed the peer since the change was
    /// decided. Does nothing for an entry of another process, or of a batch that was forgotten.
    pub(crate) fn mark_seen(&self, entry: &mut LogEntry) {
        let mut state = self.state.lock();
        if !state.sent.contains_key(&entry.nonce) {
            return;
        }
        // A reload may have read these peers before the server had the changes.
        entry.changes.iter().for_each(|(id, _)| state.outdate_reloads(id));
        let State { sent, overtaken, .. } = &mut *state;
        let Some(batch) = sent.get_mut(&entry.nonce) else { return };
        // The entry has the changes of the batch in the same order, without those that did not hold.
        let (mut sent_changes, mut lacks) = (batch.changes.iter(), 0);
        entry.changes.retain(|(id, _)| {
            let change = sent_changes.find(|change| {
                let is_found = change.peer.as_str().as_bytes() == id;
                lacks += usize::from(!is_found && !change.is_eviction);
                is_found
            });
            change.is_some_and(|change| {
                overtaken.get(&change.peer).is_some_and(|newest| change.number <= *newest)
            })
        });
        lacks += sent_changes.filter(|change| !change.is_eviction).count();
        batch.is_complete = Some(lacks == 0);
        if batch.acknowledged {
            sent.remove(&entry.nonce);
        }
    }

    /// Marks a batch as acknowledged: the script has written at least one of its changes.
    pub(crate) fn acknowledge(&self, nonce: Nonce) {
        let mut state = self.state.lock();
        let Some(sent) = state.sent.get_mut(&nonce) else { return };
        sent.acknowledged = true;
        if sent.is_complete.is_some() {
            state.sent.remove(&nonce);
        }
    }

    /// The batches that the server has acknowledged, and that the follower has not seen yet.
    pub(crate) fn unseen(&self) -> Vec<Nonce> {
        let state = self.state.lock();
        state.sent.iter().filter(|(_, sent)| sent.acknowledged).map(|(nonce, _)| *nonce).collect()
    }

    /// Whether the follower has still not seen one of these batches.
    pub(crate) fn lacks_any(&self, unseen: &[Nonce]) -> bool {
        let state = self.state.lock();
        unseen.iter().any(|nonce| state.sent.contains_key(nonce))
    }

    /// Forgets a batch that had no effect, or whose effect is unknown. If its entry appears in the
    /// log later, the follower applies it like an entry of another process. If the follower has
    /// seen the entry already, returns whether it has all changes of the batch, apart from
    /// evictions.
    pub(crate) fn forget(&self, nonce: Nonce) -> Option<bool> {
        self.state.lock().sent.remove(&nonce)?.is_complete
    }

    /// Forgets all batches. The follower then applies all entries of the log.
    pub(crate) fn forget_all(&self) {
        self.state.lock().sent.clear();
    }

    /// Closes the queue: all waiting decisions fail, and so does each one that is added later.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for item in std::mem::take(&mut state.waiting) {
            item.finish(Outcome::Failed(unavailable("the store is closed")));
        }
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_embedded::replica::Replica;
    use aurora_discovery_protocol::Timestamp;
    use aurora_discovery_registry::{Claim, Limits, Source, WebOrigin};

    use super::*;
    use crate::entry::StreamId;

    fn peer(name: &str) -> PeerId {
        PeerId::parse(name).expect("an id")
    }

    /// Adds the decision about a heartbeat of an unknown peer.
    fn decide(queue: &Queue, name: &str) -> oneshot::Receiver<Outcome> {
        let claim = Claim {
            source: Source::of("203.0.113.7".parse().expect("an address")),
            page: WebOrigin::None,
            token: None,
            holder_rule_disabled: false,
        };
        let mut outcome = None;
        Replica::new(Limits::default()).renew(&peer(name), &claim, Timestamp::from_millis(1), |change| {
            outcome = Some(queue.push(change, false));
        });
        outcome.expect("a decision")
    }

    /// Adds the deletion of a peer that can't be parsed.
    fn delete(queue: &Queue, name: &str) -> oneshot::Receiver<Outcome> {
        queue.delete(peer(name), Vec::new())
    }

    fn entry(nonce: Nonce, names: [&str; 2]) -> LogEntry {
        let changes = names.map(|name| (name.as_bytes().to_vec(), Vec::new())).to_vec();
        LogEntry { id: StreamId::default(), nonce, previous: None, changes }
    }

    /// Overtakes so many peers that the queue prunes its map of overtaken peers.
    fn overtake_many(queue: &Queue, prefix: &str) {
        (0..2 * MIN_PRUNED).for_each(|number| queue.overtake(&peer(&format!("{prefix}{number}"))));
    }

    #[test]
    fn a_decision_is_reverted_unless_the_follower_has_changed_the_peer_since() {
        let queue = Queue::default();
        let _before = decide(&queue, "p");
        let _of_other = decide(&queue, "q");
        queue.overtake(&peer("p"));
        let _after = decide(&queue, "p");
        let batch = queue.take_batch(Nonce::random());
        let reverted = queue.finish(batch, &Outcome::Done);
        let names: Vec<_> = reverted.iter().map(|change| change.peer.as_str()).collect();
        assert_eq!(names, ["p", "q"], "the latest first");
    }

    #[test]
    fn the_replica_lacks_changes_of_its_own_batch_only_for_peers_that_the_follower_has_changed() {
        let queue = Queue::default();
        let (first, second) = (Nonce::random(), Nonce::random());
        let names = |nonce| {
            let mut seen = entry(nonce, ["p", "q"]);
            queue.mark_seen(&mut seen);
            seen.changes
                .into_iter()
                .map(|(name, _)| String::from_utf8(name).expect("text"))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(Nonce::random()), ["p", "q"], "of another process");
        let _outcomes = [delete(&queue, "p"), delete(&queue, "q")];
        queue.take_batch(first);
        assert!(names(first).is_empty());
        let _outcomes = [delete(&queue, "p"), delete(&queue, "q")];
        queue.take_batch(second);
        queue.overtake(&peer("p"));
        assert_eq!(names(second), ["p"]);
    }

    #[test]
    fn peers_are_forgotten_when_no_decision_needs_them() {
        let queue = Queue::default();
        let nonce = Nonce::random();
        let overtaken = || queue.state.lock().overtaken.len();
        queue.overtake(&peer("p"));
        assert_eq!(overtaken(), 0, "there is no decision");
        let _outcome = decide(&queue, "p");
        queue.take_batch(nonce);
        overtake_many(&queue, "p");
        assert_eq!(overtaken(), 2 * MIN_PRUNED, "the batch is not finished");
        queue.forget(nonce);
        let _outcome = decide(&queue, "p");
        overtake_many(&queue, "q");
        assert!(overtaken() <= 2 * MIN_PRUNED, "{}", overtaken());
    }

    #[test]
    fn a_check_that_nobody_waits_for_is_not_sent() {
        let queue = Queue::default();
        drop(decide(&queue, "p"));
        let _outcome = decide(&queue, "q");
        let batch = queue.take_batch(Nonce::random());
        assert_eq!(batch.iter().map(|item| item.peer().as_str()).collect::<Vec<_>>(), ["q"]);
    }

    fn evicted(name: &str) -> (PeerId, LeaseState) {
        let lease = crate::lease::parse(format!("1 1 1 1 - {:032} -", 0).as_bytes()).expect("a lease");
        (peer(name), lease)
    }

    #[test]
    fn evictions_of_a_batch_that_failed_wait_again() {
        let queue = Queue::default();
        let _outcome = decide(&queue, "p");
        let names: Vec<_> = (0..=MAX_BATCH).map(|number| format!("q{number:03}")).collect();
        queue.evict(names.iter().map(|name| evicted(name)).collect());
        let batch = queue.take_batch(Nonce::random());
        assert_eq!(batch.len(), 1 + MAX_BATCH);
        assert!(queue.state.lock().evictions_due, "one more eviction waits");
        let failed = Outcome::Failed(unavailable("for this test"));
        queue.finish(batch.into_iter().chain(queue.take_all()), &failed);
        assert!(queue.take_all().is_empty(), "evictions are not taken with the decisions");
        assert!(!queue.state.lock().evictions_due, "they wait for a decision or a sweep");
        queue.evict(Vec::new());
        let batches = [queue.take_batch(Nonce::random()), queue.take_batch(Nonce::random())];
        let sent: Vec<_> = batches.iter().flatten().map(|item| item.peer().to_string()).collect();
        assert_eq!(sent, names);
    }

    #[test]
    fn the_follower_applies_an_eviction_again_only_if_it_has_changed_the_peer_since() {
        let queue = Queue::default();
        let nonce = Nonce::random();
        let _outcome = decide(&queue, "p");
        queue.overtake(&peer("q"));
        queue.evict(vec![evicted("q"), evicted("r")]);
        queue.overtake(&peer("r"));
        queue.take_batch(nonce);
        let mut seen = entry(nonce, ["q", "r"]);
        queue.mark_seen(&mut seen);
        assert_eq!(seen.changes, [(b"r".to_vec(), Vec::new())]);
    }

    #[test]
    fn a_peer_with_an_eviction_is_not_forgotten_until_the_follower_has_seen_the_eviction() {
        let queue = Queue::default();
        let nonce = Nonce::random();
        queue.evict(vec![evicted("q"), evicted("r")]);
        queue.overtake(&peer("q"));
        overtake_many(&queue, "waiting");
        queue.take_batch(nonce);
        overtake_many(&queue, "sent");
        let mut seen = entry(nonce, ["q", "r"]);
        queue.mark_seen(&mut seen);
        assert_eq!(seen.changes, [(b"q".to_vec(), Vec::new())]);
    }

    #[test]
    fn a_forgotten_batch_tells_whether_the_log_has_all_its_changes() {
        let queue = Queue::default();
        for (logged, expected) in [(&["p", "q"][..], Some(true)), (&["p"], Some(false))] {
            let nonce = Nonce::random();
            let _outcomes = ["p", "q"].map(|name| delete(&queue, name));
            queue.take_batch(nonce);
            let changes = logged.iter().map(|name| (name.as_bytes().to_vec(), Vec::new())).collect();
            let mut entry = LogEntry { id: StreamId::default(), nonce, previous: None, changes };
            queue.mark_seen(&mut entry);
            assert_eq!(queue.forget(nonce), expected);
        }
        let nonce = Nonce::random();
        queue.take_batch(nonce);
        assert_eq!(queue.forget(nonce), None, "not seen");
    }

    #[test]
    fn a_reload_is_applied_unless_the_replica_has_got_a_newer_state_of_the_peer() {
        let queue = Queue::default();
        queue.overtake(&peer("p"));
        let reload = queue.reload(peer("p"));
        queue.overtake(&peer("q"));
        assert!(reload.begin(&peer("p")));
        let reload = queue.reload(peer("p"));
        queue.overtake(&peer("p"));
        assert!(!reload.begin(&peer("p")));
        // The replica has got a newer state by a decision of this process.
        let reload = queue.reload(peer("p"));
        let nonce = Nonce::random();
        let _outcome = decide(&queue, "p");
        queue.take_batch(nonce);
        queue.mark_seen(&mut entry(nonce, ["p", "q"]));
        assert!(!reload.begin(&peer("p")));
        let reload = queue.reload(peer("p"));
        queue.outdate_all_reloads();
        assert!(!reload.begin(&peer("p")));
    }

    #[test]
    fn an_eviction_is_sent_between_the_decisions_before_and_after_it() {
        let queue = Queue::default();
        let _before = [decide(&queue, "p"), decide(&queue, "q")];
        queue.evict(vec![evicted("p"), evicted("q"), evicted("r")]);
        let _after = decide(&queue, "p");
        let names = |batch: &[Item]| {
            let name = |item: &Item| match item {
                Item::Evict { peer, .. } => format!("evict {peer}"),
                Item::Change { .. } | Item::Delete { .. } => item.peer().to_string(),
            };
            batch.iter().map(name).collect::<Vec<_>>()
        };
        let batch = queue.take_batch(Nonce::random());
        assert_eq!(names(&batch), ["p", "q", "evict p", "p", "evict q", "evict r"]);
    }
}
