//! A replica: the index of peers that a shared store keeps.

use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Subject, Timestamp};
use aurora_discovery_registry::{
    Claim, Evicted, Holder, Import, Limits, PeerState, PutRequest, PutResult, Removal, Renewal, Replacement,
};

use super::{EmbeddedStore, Shared};
use crate::index::{Entry, Index, Keys, Lease, LeaseState, ParsedRecord, RemovalDecision, RenewalDecision};

/// A copy in memory of the peers of a store that several processes share.
///
/// A replica decides about changes by the rules and bounds of the embedded store, and applies them
/// at once. It passes each as a [`Change`] to its caller, in order and while the index is locked.
/// The caller writes the change to the shared store, on the condition that the peer there is still
/// as it was when the replica decided. If it is not, the caller calls [`Replica::revert`]. Changes
/// of other processes come in through [`Replica::apply`]. The end of a lease is not passed to the
/// caller, and [`Replica::take_evicted`] returns the dormant peers that the replica has evicted.
///
/// A refusal, or a heartbeat that changes nothing, is valid only under the same condition. It is
/// passed as a change that leaves the peer as it is ([`Change::is_none`]).
#[derive(Clone)]
pub struct Replica {
    store: Arc<EmbeddedStore>,
}

/// A change that the replica has decided and applied, or a decision that changes nothing.
#[derive(Debug)]
pub struct Change {
    /// The peer.
    pub peer: PeerId,
    /// The lease on which the decision is based. `None` if the peer was unknown.
    pub before: Option<LeaseState>,
    /// The lease after the change. `None` if the peer is deleted, or is unknown and stays so.
    pub after: Option<LeaseState>,
    /// The whole peer as an opaque record, which other processes pass to [`Replica::apply`]. `None`
    /// if the change concerns only the lease, deletes the peer, or changes nothing.
    pub record: Option<Box<[u8]>>,
    /// The record of the peer before the change. `None` if the change neither replaces nor deletes
    /// a peer.
    undo: Option<Box<[u8]>>,
}

impl Change {
    /// A decision that leaves the peer in this slot, or an unknown peer, as it is.
    fn none(peer: PeerId, index: &Index, slot: Option<u32>) -> Self {
        let state = slot.map(|slot| index.lease_state(slot));
        Self { peer, before: state, after: state, record: None, undo: None }
    }

    /// Whether the decision leaves the peer as it is.
    pub fn is_none(&self) -> bool {
        self.record.is_none() && self.before == self.after
    }
}

/// The state of a peer in the shared store, usually as another process has written it.
#[derive(Clone, Copy, Debug)]
pub enum RemoteState<'a> {
    /// The whole peer: its lease, and the [`Change::record`] of the other process.
    Peer(&'a LeaseState, &'a [u8]),
    /// A new lease of the same registration.
    Lease(&'a LeaseState),
    /// The peer was deleted.
    Deleted,
}

/// The result of applying the change of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The replica has the change, or the `begin` of [`Replica::apply`] returned false.
    Done,
    /// The lease is of a registration that the replica does not have.
    UnknownRegistration,
    /// The record can't be parsed, or is not of this peer and lease. The replica has deleted its
    /// copy of the peer.
    Unreadable,
}

/// How far the time of a registration may be ahead of the time of the registration that replaces
/// it, in milliseconds. A time that is further ahead was read from another clock.
const MAX_AHEAD_MILLIS: u64 = 1_000;
/// The number of slots that [`Replica::retain`] examines before it releases the lock of the index,
/// so that requests can use the index in between.
const RETAIN_STEPS: u32 = 4_096;

impl Replica {
    /// An empty replica.
    pub fn new(limits: Limits) -> Self {
        Self { store: Arc::new(EmbeddedStore::in_memory_of_replica(limits)) }
    }

    /// The store that lists and counts the peers. It must not be used to change them.
    pub fn peers(&self) -> &EmbeddedStore {
        &self.store
    }

    /// Decides about a registration. If it is accepted, it is applied. The decision is passed to
    /// `queue`.
    pub fn put(&self, put: PutRequest, now: Timestamp, queue: impl FnOnce(Change)) -> PutResult {
        let PutRequest { registration, ttl, claim, token_only, new_token, signing } = put;
        let replacement = Replacement { claim: &claim, token_only, signing: &signing };
        let holder = Holder { source: claim.source, token: new_token, page: claim.page.page(), token_only };
        let keys = &self.shared().keys;
        let mut entry = Entry::new(registration, holder, Lease::begin(ttl, now), keys);
        let mut index = self.store.write(now);
        let admission = match index.admit(&mut entry, &replacement, now) {
            Ok(admission) => admission,
            Err(refusal) => {
                let slot = index.find_peer(&entry.peer_id);
                queue(Change::none(entry.peer_id, &index, slot));
                return refusal;
            }
        };
        if let (true, Some(token)) = (admission.token_kept, claim.token) {
            entry.content.holder.token = token;
        }
        index.make_room(&entry, &admission, &mut |record| self.store.append_in_background(record));
        let before = admission.slot.map(|slot| index.lease_state(slot));
        // The new registration gets a later `registered_at` than the one that it replaces. If the
        // token is kept and both are made in the same millisecond, their leases would otherwise be
        // equal, and the condition of a later change could not tell them apart. A time that was
        // read from another clock, and is far ahead, is replaced by the current time.
        if let Some(before) = &before
            && before.registered_at < now.plus_millis(MAX_AHEAD_MILLIS)
        {
            let registered_at = &mut entry.content.registered_at;
            *registered_at = (*registered_at).max(before.registered_at.plus_millis(1));
        }
        let undo = record_of(&index, admission.slot);
        index.insert(&entry, admission.slot);
        let mut record = Vec::with_capacity(entry.record_len());
        entry.encode(0, &mut record);
        let after = index.find_peer(&entry.peer_id).map(|slot| index.lease_state(slot));
        queue(Change { peer: entry.peer_id, before, after, record: Some(record.into()), undo });
        PutResult::Stored { token_kept: admission.token_kept }
    }

    /// Decides about a heartbeat. If it changes the lease, the change is applied. The decision is
    /// passed to `queue`.
    pub fn renew(&self, peer: &PeerId, claim: &Claim, now: Timestamp, queue: impl FnOnce(Change)) -> Renewal {
        let hash = self.shared().keys.peer(peer.as_str().as_bytes());
        let unchanged = |index: &Index| Change::none(peer.clone(), index, index.find(peer, hash));
        // Most heartbeats change nothing, so the decision is first made with shared access. If the
        // heartbeat changes the lease, the decision is made again with exclusive access to the
        // index.
        {
            let index = self.store.read(now);
            if let RenewalDecision::Unchanged(renewal) = index.decide_renewal(peer, hash, claim, now) {
                queue(unchanged(&index));
                return renewal;
            }
        }
        let mut index = self.store.write(now);
        match index.decide_renewal(peer, hash, claim, now) {
            RenewalDecision::Unchanged(renewal) => {
                queue(unchanged(&index));
                renewal
            }
            RenewalDecision::Change { renewal, slot, after } => {
                let before = Some(index.lease_state(slot));
                index.set_lease_state(slot, &after);
                if matches!(renewal, Renewal::Renewed { revived: true, .. }) {
                    index.count_revival();
                }
                let peer = peer.clone();
                queue(Change { peer, before, after: Some(after), record: None, undo: None });
                renewal
            }
        }
    }

    /// Decides about a deregistration. If it is granted, it is applied. The decision is passed to
    /// `queue`.
    pub fn remove(
        &self,
        peer: &PeerId,
        claim: &Claim,
        now: Timestamp,
        queue: impl FnOnce(Change),
    ) -> Removal {
        let hash = self.shared().keys.peer(peer.as_str().as_bytes());
        let mut index = self.store.write(now);
        let decision = match index.check_removal(peer, hash, claim, now) {
            RemovalDecision::Granted { slot, is_live } => Ok((slot, is_live)),
            RemovalDecision::Held(held) => Err(Removal::Held(held)),
            RemovalDecision::Unknown => Err(Removal::Unknown),
        };
        let (slot, was_live) = match decision {
            Ok(granted) => granted,
            Err(refusal) => {
                queue(Change::none(peer.clone(), &index, index.find(peer, hash)));
                return refusal;
            }
        };
        let before = Some(index.lease_state(slot));
        let undo = record_of(&index, Some(slot));
        index.deregister(slot, now);
        let tombstone = index.find_peer(peer);
        let after = tombstone.map(|slot| index.lease_state(slot));
        queue(Change { peer: peer.clone(), before, after, record: record_of(&index, tombstone), undo });
        Removal::Removed { was_live }
    }

    /// Deletes peers of `subjects` in a part of the slots. The holder rules do not apply. Passes
    /// each deletion to `queue`, together with the number of live and dormant peers that it
    /// deletes. `from` is 0 in the first call. Returns `from` for the next call, or `None` at the
    /// end.
    pub fn evict(
        &self,
        subjects: &[Subject],
        from: u32,
        now: Timestamp,
        mut queue: impl FnMut(Change, Evicted),
    ) -> Option<u32> {
        let (slots, until) = self.store.search(subjects, from);
        let mut index = self.store.write(now);
        for slot in slots {
            if slot >= index.slot_count() || !index.is_of_any(slot, subjects) {
                continue;
            }
            let Ok(peer) = PeerId::parse(&index.id_of(slot)) else { continue };
            let count = match index.liveness_of(slot) {
                Some(true) => Evicted { live: 1, dormant: 0 },
                Some(false) => Evicted { live: 0, dormant: 1 },
                None => Evicted::default(),
            };
            let (before, undo) = (Some(index.lease_state(slot)), record_of(&index, Some(slot)));
            index.remove(slot);
            queue(Change { peer, before, after: None, record: None, undo }, count);
        }
        (until != from).then_some(until)
    }

    /// Inserts a peer from another store and passes the change to `queue`, unless a peer of this
    /// name is known.
    pub fn import(&self, state: PeerState, now: Timestamp, queue: impl FnOnce(Change)) -> Import {
        let mut index = self.store.write(now);
        let entry = Entry::import(state, -index.time_offset(), now, &self.shared().keys);
        if index.find_peer(&entry.peer_id).is_some() {
            return Import::Known;
        }
        let mut record = Vec::with_capacity(entry.record_len());
        entry.encode(0, &mut record);
        index.insert(&entry, None);
        let after = index.find_peer(&entry.peer_id).map(|slot| index.lease_state(slot));
        queue(Change { peer: entry.peer_id, before: None, after, record: Some(record.into()), undo: None });
        Import::Stored
    }

    /// Reverts the changes that `changes` returns, in that order. The newest change must come
    /// first. `changes` is called while the index is locked, so that no other change is decided in
    /// between. A change is not reverted if its peer has changed again since.
    ///
    /// Returns false if a peer that one of the changes stored is no longer in the replica, for
    /// example because it was evicted. The replica then lacks a peer that the shared store may
    /// have.
    #[must_use]
    pub fn revert(&self, changes: impl FnOnce() -> Vec<Change>) -> bool {
        let mut lacks_none = true;
        let mut index = self.shared().write();
        for change in changes().into_iter().filter(|change| !change.is_none()) {
            let slot = index.find_peer(&change.peer);
            let current = slot.map(|slot| index.lease_state(slot));
            // The change is reverted only if it is the latest one of its peer.
            let is_current = match (&current, &change.after) {
                (Some(current), Some(after)) => current.is_same(after),
                (current, after) => current.is_none() && after.is_none(),
            };
            if !is_current {
                lacks_none &= current.is_some();
                continue;
            }
            let Some(before) = &change.before else {
                slot.into_iter().for_each(|slot| index.remove(slot));
                continue;
            };
            // The record restores the registration, if the change replaced or deleted it. The lease
            // is restored in any case.
            let mut slot = slot;
            if let Some(undo) = &change.undo
                && let Ok(ParsedRecord::Registered(entry)) = ParsedRecord::parse(undo, &self.shared().keys)
            {
                index.insert(&entry, slot);
                slot = index.find_peer(&change.peer);
            }
            slot.into_iter().for_each(|slot| index.set_lease_state(slot, before));
        }
        lacks_none
    }

    /// Wakes the requests that wait for messages to a peer, because a message has arrived. The
    /// mailboxes themselves are in the shared store.
    pub fn mail_arrived(&self, peer: &PeerId) {
        self.store.mail.wake(peer);
    }

    /// Applies the change of another process. `begin` is called first, while the index is locked,
    /// so that the caller can tell decisions before the change from those after it. If it returns
    /// false, the replica stays as it is.
    pub fn apply(&self, peer: &PeerId, state: RemoteState<'_>, begin: impl FnOnce() -> bool) -> Applied {
        // Parsed before the index is locked.
        let entry = match state {
            RemoteState::Peer(lease, record) => entry_of(peer, lease, record, &self.shared().keys),
            RemoteState::Lease(_) | RemoteState::Deleted => None,
        };
        let mut index = self.shared().write();
        if !begin() {
            return Applied::Done;
        }
        match state {
            RemoteState::Peer(lease, _) => apply_peer(&mut index, peer, lease, entry),
            RemoteState::Lease(lease) => apply_lease(&mut index, peer, lease),
            RemoteState::Deleted => {
                index.find_peer(peer).into_iter().for_each(|slot| index.remove(slot));
                Applied::Done
            }
        }
    }

    /// Deletes the peers for whose ids `keep` returns false.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut next = Some(0);
        while let Some(first) = next {
            next = self.shared().write().retain(first, RETAIN_STEPS, &keep);
        }
    }

    /// Takes the dormant peers that were evicted since the last call, with their leases. They were
    /// evicted to make room for others, or because their revival window or lock had ended.
    pub fn take_evicted(&self) -> Vec<(PeerId, LeaseState)> {
        self.shared().evicted.as_ref().map(|evicted| std::mem::take(&mut *evicted.lock())).unwrap_or_default()
    }

    fn shared(&self) -> &Shared {
        &self.store.shared
    }
}

/// Applies the whole peer. `entry` is its record, or `None` if the record can't be parsed.
fn apply_peer(index: &mut Index, peer: &PeerId, lease: &LeaseState, entry: Option<Entry>) -> Applied {
    let slot = index.find_peer(peer);
    let Some(mut entry) = entry else {
        slot.into_iter().for_each(|slot| index.remove(slot));
        return Applied::Unreadable;
    };
    entry.dormant = lease.left_at.is_some() || !index.is_before(lease.expires_at);
    // After a connection was lost, the caller may apply all peers of the shared store again.
    // Watchers must not get an event for a peer that the replica already has in this state.
    if slot.is_some_and(|slot| index.lease_state(slot) == *lease) {
        let mut record = Vec::new();
        entry.encode(0, &mut record);
        if record_of(index, slot).as_deref() == Some(&*record) {
            return Applied::Done;
        }
    }
    index.insert(&entry, slot);
    if let Some(slot) = index.find_peer(peer) {
        index.set_lease_state(slot, lease);
    }
    Applied::Done
}

fn apply_lease(index: &mut Index, peer: &PeerId, lease: &LeaseState) -> Applied {
    let Some(slot) = index.find_peer(peer) else { return Applied::UnknownRegistration };
    let current = index.lease_state(slot);
    let same_registration = current.registered_at == lease.registered_at
        && current.token == lease.token
        && current.left_at == lease.left_at;
    if !same_registration {
        return Applied::UnknownRegistration;
    }
    index.set_lease_state(slot, lease);
    Applied::Done
}

/// The peer of a record, with this lease. `None` if the record can't be parsed, or is of another
/// peer or registration.
fn entry_of(peer: &PeerId, lease: &LeaseState, record: &[u8], keys: &Keys) -> Option<Entry> {
    let Ok(ParsedRecord::Registered(mut entry)) = ParsedRecord::parse(record, keys) else { return None };
    let content = &mut entry.content;
    let left_at = content.signed.as_ref().and_then(|signed| signed.lock.left_at);
    let is_of_lease = content.registered_at == lease.registered_at
        && content.holder.token == lease.token
        && left_at == lease.left_at;
    content.expires_at = lease.expires_at;
    content.last_seen = lease.last_seen;
    content.proven_at = lease.proven_at;
    (entry.peer_id == *peer && is_of_lease).then_some(entry)
}

/// The record of the peer in a slot.
fn record_of(index: &Index, slot: Option<u32>) -> Option<Box<[u8]>> {
    let mut record = Vec::new();
    index.record(slot?, 0, &mut record);
    Some(record.into())
}
