//! The service as its peers see it: hosts that share their state unless they are partitioned, and
//! that respond unless there is an outage.

use std::error::Error;

use super::scenario::{Sampler, Scenario};
use super::service_host::ServiceHost;

pub(crate) struct Service {
    hosts: Vec<ServiceHost>,
    /// Whether the hosts are partitioned.
    partitioned: bool,
    /// Whether there is an outage.
    outage: bool,
    /// Peers that deregistered during the partition.
    deregistered: Vec<u32>,
    /// Peers whose leases were live at the start of the outage, if the service restores them.
    restored: Vec<u32>,
}

impl Service {
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, Box<dyn Error>> {
        let hosts = (0..scenario.hosts()).map(|_| ServiceHost::new(scenario)).collect::<Result<_, _>>()?;
        Ok(Self { hosts, partitioned: false, outage: false, deregistered: Vec::new(), restored: Vec::new() })
    }

    /// Starts and ends the disturbances of the scenario.
    pub(crate) async fn advance(&mut self, scenario: &Scenario, now: u32) -> Result<(), Box<dyn Error>> {
        let (outage, partitioned) = (scenario.outage().contains(&now), scenario.partition().contains(&now));
        // The outage begins: remember the live peers if the service restores them.
        if outage && !self.outage && scenario.outage_restores {
            self.restored = self.hosts.iter().flat_map(|host| host.listed(now)).collect();
        }
        // The outage ends. Each peer that was live when it began gets a full lease, as after a
        // restart of the embedded store.
        if self.outage && !outage {
            for peer in std::mem::take(&mut self.restored) {
                self.heartbeat(peer, now).await?;
            }
        }
        let healed = self.partitioned && !partitioned;
        (self.outage, self.partitioned) = (outage, partitioned);
        if healed {
            self.merge(now).await?;
        }
        Ok(())
    }

    /// Whether requests get responses.
    pub(crate) fn responds(&self) -> bool {
        !self.outage
    }

    pub(crate) async fn register(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        for host in self.reached_by(peer) {
            host.register(peer, now).await?;
        }
        Ok(())
    }

    /// Renews a peer's lease at the host that the peer uses. Returns whether that host knows the
    /// peer. Unless the hosts are partitioned, the other host receives the lease too, even if it
    /// missed the registration.
    pub(crate) async fn heartbeat(&mut self, peer: u32, now: u32) -> Result<bool, Box<dyn Error>> {
        let home = self.home(peer);
        if !self.hosts[home].heartbeat(peer, now).await? {
            return Ok(false);
        }
        if !self.partitioned {
            self.share(peer, now).await?;
        }
        Ok(true)
    }

    pub(crate) async fn deregister(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        if self.partitioned {
            self.deregistered.push(peer);
        }
        for host in self.reached_by(peer) {
            host.deregister(peer, now).await?;
        }
        Ok(())
    }

    pub(crate) async fn discover(
        &mut self,
        sampler: Sampler,
        peer: u32,
        now: u32,
    ) -> Result<Vec<u32>, Box<dyn Error>> {
        let home = self.home(peer);
        self.hosts[home].discover(sampler, peer, now).await
    }

    /// The host that a peer uses.
    fn home(&self, peer: u32) -> usize {
        peer as usize % self.hosts.len()
    }

    /// The hosts that see a peer's requests: its own, and the other one unless they are
    /// partitioned.
    fn reached_by(&mut self, peer: u32) -> &mut [ServiceHost] {
        let home = self.home(peer);
        if self.partitioned { &mut self.hosts[home..=home] } else { &mut self.hosts }
    }

    /// Gives each host the changes that the other one received during the partition.
    async fn merge(&mut self, now: u32) -> Result<(), Box<dyn Error>> {
        for peer in std::mem::take(&mut self.deregistered) {
            self.deregister(peer, now).await?;
        }
        for home in 0..self.hosts.len() {
            for peer in self.hosts[home].listed(now) {
                if self.home(peer) == home {
                    self.share(peer, now).await?;
                }
            }
        }
        Ok(())
    }

    /// Renews a peer's lease at the other hosts, and registers the peer at those that don't know
    /// it.
    async fn share(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        let home = self.home(peer);
        for (_, host) in self.hosts.iter_mut().enumerate().filter(|(at, _)| *at != home) {
            if !host.heartbeat(peer, now).await? {
                host.register(peer, now).await?;
            }
        }
        Ok(())
    }
}
