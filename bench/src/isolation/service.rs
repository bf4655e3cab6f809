//! The service as its peers see it: hosts that share what they know, unless they are apart, and answers, unless there are none.

use std::error::Error;

use super::host::Host;
use super::scenario::{Sampler, Scenario};

pub(crate) struct Service {
    hosts: Vec<Host>,
    /// Whether the hosts don't see each other.
    apart: bool,
    /// Whether nothing is answered.
    away: bool,
    /// Who deregistered while the hosts were apart.
    departed: Vec<u32>,
    /// Whose leases ran when the outage began, where it restores them.
    kept: Vec<u32>,
}

impl Service {
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, Box<dyn Error>> {
        let hosts = (0..scenario.hosts()).map(|_| Host::new(scenario)).collect::<Result<_, _>>()?;
        Ok(Self { hosts, apart: false, away: false, departed: Vec::new(), kept: Vec::new() })
    }

    /// Begins and ends the scenario's troubles.
    pub(crate) async fn advance(&mut self, scenario: &Scenario, now: u32) -> Result<(), Box<dyn Error>> {
        let (away, apart) = (scenario.outage().contains(&now), scenario.partition().contains(&now));
        if away && !self.away && scenario.outage_restores {
            self.kept = self.hosts.iter().flat_map(|host| host.listed(now)).collect();
        }
        if self.away && !away {
            for peer in std::mem::take(&mut self.kept) {
                self.heartbeat(peer, now).await?;
            }
        }
        let healed = self.apart && !apart;
        (self.away, self.apart) = (away, apart);
        if healed {
            self.merge(now).await?;
        }
        Ok(())
    }

    /// Whether calls are answered.
    pub(crate) fn answers(&self) -> bool {
        !self.away
    }

    pub(crate) async fn register(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        for host in self.reached_by(peer) {
            host.register(peer, now).await?;
        }
        Ok(())
    }

    /// Whether the service knows the peer. A host that missed its registration hears of it from the one it keeps to.
    pub(crate) async fn heartbeat(&mut self, peer: u32, now: u32) -> Result<bool, Box<dyn Error>> {
        let home = self.home(peer);
        if !self.hosts[home].heartbeat(peer, now).await? {
            return Ok(false);
        }
        if !self.apart {
            self.share(peer, now).await?;
        }
        Ok(true)
    }

    pub(crate) async fn deregister(&mut self, peer: u32, now: u32) -> Result<(), Box<dyn Error>> {
        if self.apart {
            self.departed.push(peer);
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

    /// The host that a peer keeps to.
    fn home(&self, peer: u32) -> usize {
        peer as usize % self.hosts.len()
    }

    /// The hosts that see what a peer calls: its own, and, unless they are apart, the other one.
    fn reached_by(&mut self, peer: u32) -> &mut [Host] {
        let home = self.home(peer);
        if self.apart { &mut self.hosts[home..=home] } else { &mut self.hosts }
    }

    /// Tells each host what the other one heard while they were apart.
    async fn merge(&mut self, now: u32) -> Result<(), Box<dyn Error>> {
        for peer in std::mem::take(&mut self.departed) {
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

    /// Tells the other hosts of a peer that the one it keeps to lists.
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
