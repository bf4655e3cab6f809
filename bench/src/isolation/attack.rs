//! A network in which one party, the attacker, owns many peers from few networks.
//!
//! The peers of the attacker stay registered. The honest peers come and go, discover once per
//! heartbeat interval, and remember their last two responses. At each interval, an honest peer
//! sends one discover request of each `Kind`, and has a separate memory for the responses of each
//! kind.
//!
//! The measured graph contains only the honest peers and the edges between them. A path through a
//! peer of the attacker does not count, because that peer need not cooperate.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::{Archetypes, DiscoverRequest, Order, PeerId, RegisterRequest, Timestamp};
use aurora_discovery_registry::{Caller, Limits, Registry, WebOrigin};
use serde::Deserialize;
use serde_json::{Value, json};

use super::graph::Graph;
use super::population::Population;
use super::view::Views;

/// The archetype of every peer, for queries by archetype.
const ARCHETYPE: &str = "all";
/// The start of the simulated time, in seconds since the epoch.
const EPOCH_SECONDS: u64 = 1_759_406_400;
/// The heartbeat interval, in seconds. A lease is three intervals long.
const HEARTBEAT_SECONDS: u32 = 100;
const HEARTBEATS_PER_LEASE: u32 = 3;
/// The first byte of the addresses of the honest peers. `ATTACKER` is that of the attacker's peers.
const HONEST: u8 = 20;
const ATTACKER: u8 = 120;

/// The parameters of an attack.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Attack {
    /// The number of honest peers.
    #[arg(long, default_value_t = 1_000)]
    honest: u32,
    /// The number of networks (/16) that the honest peers come from.
    #[arg(long, default_value_t = 100)]
    honest_networks: u16,
    /// The attacker's share of all peers.
    #[arg(long, default_value_t = 0.9)]
    share: f64,
    /// The number of networks (/16) that the attacker's peers come from.
    #[arg(long, default_value_t = 16)]
    networks: u16,
    /// The number of peers that a discover requests.
    #[arg(long, default_value_t = 20)]
    k: u32,
    /// The number of heartbeat intervals, of 100 s.
    #[arg(long, default_value_t = 36)]
    intervals: u32,
    /// The share of the honest peers that is replaced by new ones per lease, of 300 s.
    #[arg(long, default_value_t = 0.1)]
    replaced: f64,
    /// The seed of the random number generator.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// How an honest peer discovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Uniform,
    Diverse,
    /// Diverse, by an archetype that all peers have.
    DiverseByArchetype,
}

/// The measurements of the responses to one kind of discover request.
#[derive(Default)]
pub(super) struct Tally {
    responses: u64,
    listed: u64,
    attackers_listed: u64,
    /// Responses that list only peers of the attacker.
    pub(super) captured: u64,
    /// The number of times that the last two responses of an honest peer listed only peers of the
    /// attacker.
    pub(super) eclipses: u64,
    /// The largest number of components of the honest peers after any interval.
    pub(super) max_components: u32,
    /// The largest number of honest peers that know no honest peer, and that no honest peer knows.
    max_isolated: u32,
}

/// What the honest peers remember of the responses to one kind of discover request. Peers are
/// indexed by their numbers.
struct Memory {
    /// The honest peers that were listed in each peer's last two responses.
    views: Views,
    /// The honest peers that were listed in each peer's last response.
    last: Vec<Vec<u32>>,
    /// Whether each peer's last response listed only peers of the attacker.
    captured: Vec<bool>,
    tally: Tally,
}

impl Attack {
    /// Prints the results as one line of JSON.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let tallies = runtime.block_on(self.simulate())?;
        let of_kind = |(kind, tally): (&Kind, &Tally)| (format!("{kind:?}"), tally.to_json());
        let kinds: serde_json::Map<String, Value> = tallies.iter().map(of_kind).collect();
        println!(
            "{}",
            json!({
                "honest": self.honest, "honest_networks": self.honest_networks, "attackers": self.attackers(),
                "share": self.share, "networks": self.networks, "k": self.k, "intervals": self.intervals,
                "kinds": kinds,
            })
        );
        Ok(())
    }

    /// The number of the attacker's peers.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
    fn attackers(&self) -> u32 {
        (f64::from(self.honest) * self.share / (1.0 - self.share)).round() as u32
    }

    pub(super) async fn simulate(&self) -> Result<BTreeMap<Kind, Tally>, Box<dyn Error>> {
        fastrand::seed(self.seed);
        let mut network = Network::new(self)?;
        for n in 0..self.attackers() {
            network.register('a', n, address(ATTACKER, n, self.networks)).await?;
        }
        for _ in 0..self.honest {
            network.start_honest().await?;
        }
        let mut replacements = 0.0;
        for interval in 0..self.intervals {
            network.now = at(interval + 1);
            network.heartbeats(self.attackers(), self.networks).await?;
            replacements += f64::from(self.honest) * self.replaced / f64::from(HEARTBEATS_PER_LEASE);
            while replacements >= 1.0 {
                replacements -= 1.0;
                network.stop_honest().await?;
                network.start_honest().await?;
            }
            network.discover_all().await?;
            network.measure((interval + 1) * HEARTBEAT_SECONDS);
        }
        Ok(network.memories.into_iter().map(|(kind, memory)| (kind, memory.tally)).collect())
    }
}

struct Network {
    registry: Registry,
    now: Timestamp,
    k: u32,
    honest_networks: u16,
    population: Population,
    memories: BTreeMap<Kind, Memory>,
    graph: Graph,
    rng: fastrand::Rng,
}

impl Network {
    fn new(attack: &Attack) -> Result<Self, Box<dyn Error>> {
        let limits = Limits::default();
        let registry = Registry::new(EmbeddedStore::in_memory(limits.clone()), limits)?;
        let memory = || Memory {
            views: Views::new(0, 1),
            last: Vec::new(),
            captured: Vec::new(),
            tally: Tally::default(),
        };
        let kinds = [Kind::Uniform, Kind::Diverse, Kind::DiverseByArchetype];
        Ok(Self {
            registry,
            now: at(0),
            k: attack.k,
            honest_networks: attack.honest_networks,
            population: Population::default(),
            memories: kinds.map(|kind| (kind, memory())).into(),
            graph: Graph::default(),
            rng: fastrand::Rng::with_seed(attack.seed),
        })
    }

    async fn register(&mut self, kind: char, n: u32, address: IpAddr) -> Result<(), Box<dyn Error>> {
        let archetypes = Archetypes::parse(&[ARCHETYPE])?;
        let request = RegisterRequest { port: 9_000, archetypes, ..RegisterRequest::new(id(kind, n)?) };
        self.registry.register(request, &caller(address), self.now).await?;
        Ok(())
    }

    async fn start_honest(&mut self) -> Result<(), Box<dyn Error>> {
        let peer = self.population.start();
        self.register('h', peer, address(HONEST, peer, self.honest_networks)).await?;
        self.population.registered(peer, 0);
        for memory in self.memories.values_mut() {
            memory.views.add(0);
            memory.last.push(Vec::new());
            memory.captured.push(false);
        }
        Ok(())
    }

    async fn stop_honest(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(peer) = self.population.stop_random(&mut self.rng) else { return Ok(()) };
        let from = caller(address(HONEST, peer, self.honest_networks));
        self.registry.deregister(&id('h', peer)?, None, &from, self.now).await?;
        self.memories.values_mut().for_each(|memory| memory.views.forget(peer));
        Ok(())
    }

    async fn heartbeats(&mut self, attackers: u32, networks: u16) -> Result<(), Box<dyn Error>> {
        let honest = self.population.members().map(|n| ('h', n, address(HONEST, n, self.honest_networks)));
        let attackers = (0..attackers).map(|n| ('a', n, address(ATTACKER, n, networks)));
        for (kind, n, address) in honest.chain(attackers) {
            self.registry.heartbeat(&id(kind, n)?, None, &caller(address), self.now).await?;
        }
        Ok(())
    }

    async fn discover_all(&mut self) -> Result<(), Box<dyn Error>> {
        let honest: Vec<u32> = self.population.members().collect();
        for peer in honest {
            for (kind, memory) in &mut self.memories {
                let request = kind.request(self.k, id('h', peer)?)?;
                let listed = self.registry.discover(request, self.now).await?.peers.to_array();
                let listed: Vec<Listed<'_>> = serde_json::from_slice(&listed)?;
                let honest: Vec<u32> = listed
                    .iter()
                    .filter_map(|listed| listed.peer_id.strip_prefix('h')?.parse().ok())
                    .collect();
                memory.learn(peer, listed.len(), honest);
            }
        }
        Ok(())
    }

    fn measure(&mut self, now: u32) {
        for memory in self.memories.values_mut() {
            let figures = self.graph.measure(&self.population, &memory.views, u32::MAX, now);
            memory.tally.max_components = memory.tally.max_components.max(figures.components);
            memory.tally.max_isolated = memory.tally.max_isolated.max(figures.isolated);
        }
    }
}

impl Memory {
    fn learn(&mut self, peer: u32, listed: usize, honest: Vec<u32>) {
        let Self { views, last, captured, tally } = self;
        tally.responses += 1;
        tally.listed += listed as u64;
        tally.attackers_listed += (listed - honest.len()) as u64;
        let is_captured = listed > 0 && honest.is_empty();
        tally.captured += u64::from(is_captured);
        tally.eclipses += u64::from(is_captured && captured[peer as usize]);
        captured[peer as usize] = is_captured;
        let last = &mut last[peer as usize];
        // The views remember only the peers of the latest call of `learn`. To remember two
        // responses, each call passes the last response and the new one.
        views.learn(peer, &[last.as_slice(), &honest].concat(), 0);
        *last = honest;
    }
}

impl Tally {
    fn to_json(&self) -> Value {
        json!({
            "responses": self.responses, "captured": self.captured, "eclipses": self.eclipses,
            "share": self.attackers_listed as f64 / (self.listed.max(1)) as f64,
            "max_components": self.max_components, "max_isolated": self.max_isolated,
        })
    }
}

impl Kind {
    fn request(self, k: u32, exclude: PeerId) -> Result<DiscoverRequest, Box<dyn Error>> {
        let order = if self == Self::Uniform { Order::Sample } else { Order::Diverse };
        let archetypes = match self {
            Self::Uniform | Self::Diverse => Vec::new(),
            Self::DiverseByArchetype => vec![ARCHETYPE.parse()?],
        };
        Ok(DiscoverRequest { order, archetypes, exclude: Some(exclude), ..DiscoverRequest::new(k) })
    }
}

/// The field of a listed peer that a client needs to recognize the attacker.
#[derive(Deserialize)]
struct Listed<'a> {
    peer_id: &'a str,
}

fn id(kind: char, n: u32) -> Result<PeerId, Box<dyn Error>> {
    Ok(PeerId::parse(&format!("{kind}{n}"))?)
}

/// The address of peer `n`, in one of `networks` /16 networks from the given first byte on. Each
/// peer has its own address.
fn address(first: u8, n: u32, networks: u16) -> IpAddr {
    let networks = u32::from(networks.max(1));
    let network = (u32::from(first) << 8) + n % networks;
    IpAddr::V4(Ipv4Addr::from_bits((network << 16) | (n / networks)))
}

fn caller(address: IpAddr) -> Caller {
    Caller { address, page: WebOrigin::None }
}

fn at(interval: u32) -> Timestamp {
    Timestamp::from_secs(EPOCH_SECONDS + u64::from(interval * HEARTBEAT_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn attack(options: &[&str]) -> BTreeMap<Kind, Tally> {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            attack: Attack,
        }
        let small = ["attack", "--honest=200", "--honest-networks=50", "--intervals=6"];
        let arguments = <Arguments as clap::Parser>::parse_from(small.iter().chain(options));
        arguments.attack.simulate().await.unwrap()
    }

    /// Half of a diverse response, ten peers, come from different networks. The attacker has only
    /// eight networks, so at least two of the ten peers are honest.
    #[tokio::test]
    async fn few_networks_capture_no_diverse_response_but_many_uniform_ones() {
        let tallies = attack(&["--share=0.9", "--networks=8"]).await;
        let captured = |kind| (tallies[&kind].captured, tallies[&kind].eclipses);
        assert_eq!(captured(Kind::Diverse), (0, 0));
        assert_eq!(tallies[&Kind::Diverse].max_components, 1);
        assert!(captured(Kind::Uniform).0 > 50, "{:?}", captured(Kind::Uniform));
        assert!(captured(Kind::Uniform).1 > 0);
    }

    #[tokio::test]
    async fn a_diverse_response_by_archetype_is_rarely_captured() {
        let tallies = attack(&["--share=0.9", "--networks=8"]).await;
        assert_eq!(tallies[&Kind::DiverseByArchetype].captured, 0);
        assert_eq!(tallies[&Kind::DiverseByArchetype].max_components, 1);
    }
}
