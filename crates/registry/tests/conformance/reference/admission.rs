//! The bounds of the reference store: which registrations it accepts.

use std::collections::BTreeSet;

use aurora_discovery_protocol::{Address, Archetype, Host, PeerId, PeerJson, Registration, Timestamp};
use aurora_discovery_registry::{ExceededLimit, PutRequest, Source};

use super::{Entry, Fault, Peers, Reference};

/// A registration to store, and the state of the store without it.
struct Candidate<'p> {
    registration: &'p Registration,
    source: Source,
    /// The registration that it replaces, if it is a member.
    member: Option<&'p Entry>,
    /// The other live peers.
    others: Vec<&'p Entry>,
}

impl Candidate<'_> {
    /// Whether the registration counts as a newcomer for a property. A member does if its current
    /// registration does not have the property.
    fn is_new<T: PartialEq>(&self, property: impl Fn(&Registration, Source) -> T) -> bool {
        let wanted = property(self.registration, self.source);
        self.member.is_none_or(|entry| wanted != property(&entry.put.registration, entry.holder.source))
    }

    /// The number of other live peers with the same property.
    fn count<T: PartialEq>(&self, property: impl Fn(&Registration, Source) -> T) -> usize {
        let wanted = property(self.registration, self.source);
        let same = |entry: &&&Entry| property(&entry.put.registration, entry.holder.source) == wanted;
        self.others.iter().filter(same).count()
    }
}

impl Reference {
    /// The bound that a registration would exceed.
    pub(super) fn exceeded_limit(
        &self,
        peers: &Peers,
        put: &PutRequest,
        now: Timestamp,
    ) -> Option<ExceededLimit> {
        let id = &put.registration.peer_id;
        let is_holder = |entry: &Entry| {
            let by_address = !entry.holder.token_only && put.claim.comes_from(&entry.holder);
            put.claim.holder_rule_disabled || put.claim.has_token_of(&entry.holder) || by_address
        };
        let is_member =
            |entry: &&Entry| entry.is_live(now) && is_holder(entry) && !self.is(Fault::RefusesMembers);
        // With this fault, the store counts a member as one more peer, and therefore refuses the
        // member when the store is full.
        let is_other = |other: &PeerId| other != id || self.is(Fault::RefusesMembers);
        let candidate = Candidate {
            registration: &put.registration,
            source: put.claim.source,
            member: peers.get(id).filter(is_member),
            others: peers
                .iter()
                .filter(|(other, e)| is_other(other) && e.is_live(now))
                .map(|(_, e)| e)
                .collect(),
        };
        self.exceeded_source(&candidate)
            .or_else(|| self.exceeded_address(&candidate))
            .or_else(|| self.exceeded_size(peers, &candidate))
            .or_else(|| self.exceeded_archetypes(&candidate))
    }

    fn exceeded_source(&self, candidate: &Candidate<'_>) -> Option<ExceededLimit> {
        if candidate.source.is_loopback() && !self.is(Fault::CountsLoopback)
            || candidate.member.is_some() && self.is(Fault::MembersMoveFreely)
        {
            return None;
        }
        let source = |_: &Registration, source: Source| source;
        let network = |_: &Registration, source: Source| source.network();
        let site = |_: &Registration, source: Source| source.site();
        let limits = &self.limits;
        let full = |is_new: bool, count: usize, bound: u32| {
            is_new && (bound > 0 || self.is(Fault::ZeroIsABound)) && exceeds(count, bound)
        };
        if full(candidate.is_new(source), candidate.count(source), limits.max_peers_per_source)
            && !self.is(Fault::UnboundedSources)
        {
            Some(ExceededLimit::Source)
        } else if full(candidate.is_new(network), candidate.count(network), limits.max_peers_per_network)
            && !self.is(Fault::UnboundedNetworks)
        {
            Some(ExceededLimit::Network)
        } else if candidate.source.site().is_some()
            && full(candidate.is_new(site), candidate.count(site), limits.max_peers_per_site)
            && !self.is(Fault::UnboundedSites)
        {
            Some(ExceededLimit::Site)
        } else {
            None
        }
    }

    fn exceeded_address(&self, candidate: &Candidate<'_>) -> Option<ExceededLimit> {
        // The host is `None` if no limit on published addresses applies to the peer. Such peers are
        // neither limited nor counted.
        let host = |registration: &Registration, source| self.counted_host(registration, source);
        let endpoint = |registration: &Registration, source| {
            host(registration, source).map(|host| (host, registration.port))
        };
        host(candidate.registration, candidate.source)?;
        if candidate.member.is_some() && self.is(Fault::MembersEvadeAddressBound) {
            return None;
        }
        let half = |bound: u32| if self.is(Fault::OneSourceTakesAll) { bound } else { (bound / 2).max(1) };
        let per_endpoint = self.limits.max_peers_per_address;
        let per_host = self.limits.max_peers_per_host;
        let endpoint_of_source = |r: &Registration, source| (endpoint(r, source), source);
        let host_of_source = |r: &Registration, source| (host(r, source), source);
        if candidate.is_new(endpoint)
            && (exceeds(candidate.count(endpoint), per_endpoint)
                || exceeds(candidate.count(endpoint_of_source), half(per_endpoint)))
        {
            Some(ExceededLimit::Address)
        } else if candidate.is_new(host)
            && !self.is(Fault::UnboundedHosts)
            && (exceeds(candidate.count(host), per_host)
                || exceeds(candidate.count(host_of_source), half(per_host)))
        {
            Some(ExceededLimit::Host)
        } else {
            None
        }
    }

    /// The host that a peer publishes, unless the peer is not counted there.
    fn counted_host(&self, registration: &Registration, source: Source) -> Option<Host> {
        let host = match (registration.address.host(), &registration.address) {
            (_, Address::Ip(ip)) if self.is(Fault::CountsSpellings) => Host::Ip(*ip),
            (Host::Ip(_), Address::Name(name)) if self.is(Fault::CountsSpellings) => Host::Name(name.clone()),
            (host, _) => host,
        };
        let is_own = matches!(host, Host::Ip(ip) if source.contains(ip)) && !self.is(Fault::CountsOwnAddress);
        let is_local = host.is_local() && !self.is(Fault::CountsLocalAddresses);
        (!is_own && !is_local && (registration.port != 0 || self.is(Fault::CountsPortZero))).then_some(host)
    }

    fn exceeded_size(&self, peers: &Peers, candidate: &Candidate<'_>) -> Option<ExceededLimit> {
        let taken = if self.is(Fault::NeverEvictsDormant) { peers.len() } else { candidate.others.len() };
        if candidate.member.is_none() && u64::try_from(taken).unwrap() >= self.limits.max_peers {
            return Some(ExceededLimit::Peers);
        }
        let bytes: usize = candidate.others.iter().map(|entry| size(&entry.put.registration)).sum();
        let wanted = size(candidate.registration);
        let grows = candidate
            .member
            .is_none_or(|entry| wanted > size(&entry.put.registration) && !self.is(Fault::MembersGrowFreely));
        (grows && u64::try_from(bytes + wanted).unwrap() > self.limits.max_bytes)
            .then_some(ExceededLimit::Bytes)
    }

    fn exceeded_archetypes(&self, candidate: &Candidate<'_>) -> Option<ExceededLimit> {
        let of = |entry: &&'_ Entry| entry.put.registration.archetypes.as_slice().to_vec();
        let mut carried: BTreeSet<Archetype> = candidate.others.iter().flat_map(of).collect();
        let kept: BTreeSet<Archetype> = candidate.member.iter().flat_map(of).collect();
        let wanted = candidate.registration.archetypes.as_slice();
        let adds = wanted.iter().any(|name| !carried.contains(name) && !kept.contains(name))
            || (candidate.member.is_none() && self.is(Fault::RefusesKnownArchetypes));
        carried.extend(wanted.iter().cloned());
        let exempt = candidate.member.is_some() && self.is(Fault::MembersAddArchetypes);
        let exceeded = carried.len() > usize::try_from(self.limits.max_archetypes).unwrap();
        (adds && exceeded && !exempt).then_some(ExceededLimit::Archetypes)
    }

    /// Deletes dormant peers that an accepted registration displaces: one of its own source if the
    /// source already has twice as many peers as may be live, and the longest dormant of all peers
    /// if the registry is full.
    pub(super) fn make_room(&self, peers: &mut Peers, id: &PeerId, source: Source, now: Timestamp) {
        let known = peers.iter().filter(|(other, entry)| *other != id && entry.holder.source == source);
        let bound = 2 * usize::try_from(self.limits.max_peers_per_source).unwrap();
        let is_new = peers.get(id).is_none_or(|entry| entry.holder.source != source);
        let loopback = source.is_loopback() && !self.is(Fault::BoundsKnownLoopback);
        let exempt = bound == 0 || loopback || self.is(Fault::KnowsWithoutBound);
        let replacement = !is_new && self.is(Fault::ReplacementEvicts);
        if (is_new && !exempt && known.count() >= bound) || replacement {
            let from = (!self.is(Fault::EvictsAnySource)).then_some(source);
            self.evict(peers, from, id, now);
        }
        let full = u64::try_from(peers.len()).unwrap() >= self.limits.max_peers;
        if full && !peers.contains_key(id) {
            self.evict(peers, None, id, now);
        }
    }

    /// Deletes the longest dormant peer, of one source if it is given.
    fn evict(&self, peers: &mut Peers, from: Option<Source>, except: &PeerId, now: Timestamp) {
        let is_candidate = |id: &PeerId, entry: &Entry| {
            id != except && !entry.is_live(now) && from.is_none_or(|source| entry.holder.source == source)
        };
        let dormant = peers.iter().filter(|(id, entry)| is_candidate(id, entry));
        let age = |entry: &Entry| entry.expires.millis_since(Timestamp::from_secs(0));
        let evicted = if self.is(Fault::EvictsNewest) {
            dormant.max_by_key(|(_, entry)| age(entry))
        } else {
            dormant.min_by_key(|(_, entry)| age(entry))
        };
        if let Some(id) = evicted.map(|(id, _)| id.clone()) {
            peers.remove(&id);
        }
    }

    /// Implements the fault `LeaseEndEvicts`: the store allows a source only as many dormant peers
    /// as it may have live ones.
    pub(super) fn evict_excess_dormant(&self, peers: &mut Peers, now: Timestamp) {
        let bound = usize::try_from(self.limits.max_peers_per_source).unwrap();
        let sources: BTreeSet<_> = peers.values().map(|entry| entry.holder.source).collect();
        let no_peer = PeerId::parse("no-peer").unwrap();
        for source in sources {
            let is_dormant = |entry: &&Entry| entry.holder.source == source && !entry.is_live(now);
            while peers.values().filter(is_dormant).count() > bound {
                self.evict(peers, Some(source), &no_peer, now);
            }
        }
    }
}

/// The size of a registration, with an allowance for the other data that a store keeps.
fn size(registration: &Registration) -> usize {
    PeerJson::new(registration).as_str().len() + 256
}

fn exceeds(count: usize, bound: u32) -> bool {
    u32::try_from(count).unwrap() >= bound
}
