//! The newcomers that the reference store accepts.

use std::collections::BTreeSet;

use aurora_discovery_protocol::{PeerId, PeerJson, Registration, Timestamp};
use aurora_discovery_registry::{ExceededLimit, Holder, PutRequest};

use super::{Entry, Fault, Peers, Reference};

impl Reference {
    pub(super) fn exceeded_limit(
        &self,
        peers: &Peers,
        put: &PutRequest,
        now: Timestamp,
    ) -> Option<ExceededLimit> {
        let PutRequest { registration, claim, .. } = put;
        let known = peers.get(&registration.peer_id);
        let member = known.is_some_and(|entry| entry.is_live(now) && claim.matches(&entry.holder))
            && !self.is(Fault::RefusesMembers);
        let live: Vec<_> = peers.values().filter(|entry| entry.is_live(now)).collect();
        let others = live.iter().filter(|entry| entry.put.registration.peer_id != registration.peer_id);
        let candidate = Entry {
            put: put.clone(),
            holder: Holder { source: claim.source, token: put.new_token },
            registered: now,
            last_seen: now,
            expires: now,
            old_archetypes: Vec::new(),
        };
        let (address, port) = (&registration.address, registration.port);
        let stays = member && known.is_some_and(|entry| entry.publishes(address, port));
        let publishers = others.clone().filter(|entry| entry.publishes(address, port)).count();
        let exempt = stays || (member && self.is(Fault::MembersEvadeAddressBound));
        if candidate.publishes(address, port)
            && !exempt
            && exceeds(publishers, self.limits.max_peers_per_address)
        {
            return Some(ExceededLimit::Address);
        }
        if member {
            return None;
        }
        let taken = if self.is(Fault::NeverEvictsDormant) { peers.len() } else { live.len() };
        let bytes: usize =
            live.iter().map(|entry| PeerJson::new(&entry.put.registration).as_str().len()).sum();
        let from_source = others.filter(|entry| entry.holder.source == claim.source).count();
        let carried: BTreeSet<_> = live
            .iter()
            .flat_map(|entry| entry.put.registration.archetypes.as_slice())
            .chain(registration.archetypes.as_slice())
            .collect();
        let unbounded = self.is(Fault::UnboundedSources)
            || (claim.source.is_loopback() && !self.is(Fault::CountsLoopback));
        if u64::try_from(taken).unwrap() >= self.limits.max_peers {
            Some(ExceededLimit::Peers)
        } else if u64::try_from(bytes).unwrap() + 4_096 > self.limits.max_bytes {
            Some(ExceededLimit::Bytes)
        } else if exceeds(from_source, self.limits.max_peers_per_source) && !unbounded {
            Some(ExceededLimit::Source)
        } else if carried.len() > usize::try_from(self.limits.max_archetypes).unwrap() {
            Some(ExceededLimit::Archetypes)
        } else {
            None
        }
    }

    /// Whether reviving `id` would exceed the maximum number of peers that publish its address.
    pub(super) fn exceeds_address_bound(&self, peers: &Peers, id: &PeerId, now: Timestamp) -> bool {
        let Some(Registration { address, port, .. }) = peers.get(id).map(|entry| &entry.put.registration)
        else {
            return false;
        };
        let publishers = peers.values().filter(|entry| entry.is_live(now) && entry.publishes(address, *port));
        peers[id].publishes(address, *port) && exceeds(publishers.count(), self.limits.max_peers_per_address)
    }

    /// Deletes dormant peers if a newcomer needs their space.
    pub(super) fn evict_dormant(&self, peers: &mut Peers, now: Timestamp) {
        let full = u64::try_from(peers.len()).unwrap() >= self.limits.max_peers;
        let dormant = peers.iter().find(|(_, entry)| !entry.is_live(now)).map(|(id, _)| id.clone());
        if let (true, Some(id)) = (full, dormant) {
            peers.remove(&id);
        }
    }
}

fn exceeds(count: usize, bound: u32) -> bool {
    u32::try_from(count).unwrap() >= bound
}
