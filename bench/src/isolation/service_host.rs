//! One host of the service: the real registry on its embedded store. It also keeps the orders in
//! which the two other kinds of services would list the peers (see `order.rs`).

use std::error::Error;
use std::net::Ipv4Addr;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::{DiscoverRequest, PeerId, RegisterRequest, Timestamp, Ttl};
use aurora_discovery_registry::{Caller, Error as Refused, Limits, Registry, WebOrigin};
use serde::Deserialize;

use super::order::Orders;
use super::scenario::{Sampler, Scenario};

/// 2025-10-02T12:00:00, the start of the simulated time.
const EPOCH_SECONDS: u64 = 1_759_406_400;

pub(crate) struct ServiceHost {
    registry: Registry,
    orders: Orders,
    k: u32,
}

impl ServiceHost {
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, Box<dyn Error>> {
        // The scenario may use leases beyond the default limits.
        let lease = Ttl::from_secs(scenario.lease_seconds);
        let defaults = Limits::default();
        let limits = Limits {
            ttl_default: lease,
            ttl_min: lease.min(defaults.ttl_min),
            ttl_max: lease.max(defaults.ttl_max),
            ..defaults
        };
        let registry = Registry::new(EmbeddedStore::in_memory(limits.clone()), limits)?;
        Ok(Self { registry, orders: Orders::default(), k: scenario.k })
    }

    pub(crate) async fn register(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        let request = RegisterRequest { port: 9_000, ..RegisterRequest::new(id(peer)?) };
        let registered = self.registry.register(request, &caller(peer), at(now)).await?;
        self.orders.list(peer, seconds(registered.lease.ttl_expires));
        Ok(())
    }

    /// Renews a peer's lease. Returns whether the registry knows the peer.
    pub(crate) async fn heartbeat(&mut self, peer: u32, now: u32) -> Result<bool, Box<dyn Error>> {
        match self.registry.heartbeat(&id(peer)?, None, &caller(peer), at(now)).await {
            Ok(lease) => self.orders.list(peer, seconds(lease.ttl_expires)),
            Err(Refused::NotRegistered) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    pub(crate) async fn deregister(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        self.orders.unlist(peer);
        match self.registry.deregister(&id(peer)?, None, &caller(peer), at(now)).await {
            Ok(_) | Err(Refused::NotRegistered) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The peers that a service with this sampler returns to a peer.
    pub(crate) async fn discover(
        &mut self,
        sampler: Sampler,
        peer: u32,
        now: u32,
    ) -> Result<Vec<u32>, Box<dyn Error>> {
        if sampler != Sampler::Ours {
            return Ok(self.orders.first(sampler, peer, usize::try_from(self.k)?, now));
        }
        let request = DiscoverRequest { exclude: Some(id(peer)?), ..DiscoverRequest::new(self.k) };
        let listed = self.registry.discover(request, at(now)).await?.peers.to_array();
        let listed: Vec<Listed<'_>> = serde_json::from_slice(&listed)?;
        listed.iter().map(|peer| Ok(peer.peer_id.trim_start_matches(PREFIX).parse()?)).collect()
    }

    /// All peers with a live lease on this host.
    pub(crate) fn listed(&self, now: u32) -> Vec<u32> {
        self.orders.listed(now)
    }
}

const PREFIX: char = 'p';

/// The field of a listed peer that the simulation reads.
#[derive(Deserialize)]
struct Listed<'a> {
    peer_id: &'a str,
}

fn id(peer: u32) -> Result<PeerId, Box<dyn Error>> {
    Ok(PeerId::parse(&format!("{PREFIX}{peer}"))?)
}

/// Each peer has a unique address, so that no limit per source applies.
fn caller(peer: u32) -> Caller {
    let [_, b, c, d] = peer.to_be_bytes();
    Caller { address: Ipv4Addr::new(10, b, c, d).into(), page: WebOrigin::None }
}

fn at(now: u32) -> Timestamp {
    Timestamp::from_secs(EPOCH_SECONDS + u64::from(now))
}

fn seconds(instant: Timestamp) -> u32 {
    u32::try_from(instant.millis_since(at(0)) / 1_000).unwrap_or(u32::MAX)
}
