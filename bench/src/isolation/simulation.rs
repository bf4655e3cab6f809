//! The life of the network, second by second.

use std::error::Error;

use super::graph::{Figures, Graph};
use super::population::Population;
use super::scenario::{Sampler, Scenario};
use super::service::Service;
use super::view::Views;

/// The robustness test, which removes the best-known peers, runs once in this many steps, because
/// it takes as long as all other work of a step together.
const STEPS_PER_REMOVAL: u32 = 6;
/// How many seconds a newcomer waits before it repeats a registration that got no response.
const RETRY_SECONDS: u32 = 10;

pub(crate) struct Simulation {
    scenario: Scenario,
    now: u32,
    rng: fastrand::Rng,
    service: Service,
    population: Population,
    memories: Vec<(Sampler, Views)>,
    schedule: Schedule,
    graph: Graph,
    /// The number of peers that are still to be replaced, which may include a fraction of a peer.
    replacements_due: f64,
    /// The results of each sampler.
    pub(crate) series: Vec<Series>,
    pub(crate) counts: Counts,
}

/// The results of one sampler over time.
pub(crate) struct Series {
    pub(crate) sampler: Sampler,
    /// The figures, with the seconds since the first measurement.
    pub(crate) figures: Vec<(u32, Figures)>,
    /// The share that stays connected when the best-known peers disappear, with the seconds since
    /// the first measurement.
    pub(crate) removals: Vec<(u32, f64)>,
}

/// The totals of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) discovers: u64,
    pub(crate) unanswered: u64,
    pub(crate) joined: u64,
    pub(crate) left: u64,
}

#[derive(Clone, Copy)]
enum Action {
    Register,
    Heartbeat,
    Discover,
}

impl Simulation {
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, Box<dyn Error>> {
        // The service runs on this thread, and draws its random numbers from the generator of the
        // thread. That generator therefore gets the seed too.
        fastrand::seed(scenario.seed);
        let rng = fastrand::Rng::with_seed(scenario.seed);
        let samplers = if scenario.ours_only { &Sampler::ALL[..1] } else { &Sampler::ALL[..] };
        let (k, responses) = (usize::try_from(scenario.k)?, usize::try_from(scenario.responses)?);
        let series =
            |sampler: &Sampler| Series { sampler: *sampler, figures: Vec::new(), removals: Vec::new() };
        let mut simulation = Self {
            scenario: scenario.clone(),
            now: 0,
            rng,
            service: Service::new(scenario)?,
            population: Population::default(),
            memories: samplers.iter().map(|sampler| (*sampler, Views::new(k, responses))).collect(),
            schedule: Schedule::new(scenario),
            graph: Graph::default(),
            replacements_due: 0.0,
            series: samplers.iter().map(series).collect(),
            counts: Counts::default(),
        };
        for _ in 0..scenario.peers {
            let at = simulation.rng.u32(..scenario.heartbeat_seconds);
            simulation.start_peer(at);
        }
        Ok(simulation)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.now > self.scenario.lease_seconds * (self.scenario.leases + 1)
    }

    /// Whether a lease duration has just ended.
    pub(crate) fn ends_a_lease(&self) -> bool {
        self.now.is_multiple_of(self.scenario.lease_seconds)
    }

    /// How many lease durations have passed, without the first one, in which the network forms.
    pub(crate) fn leases_done(&self) -> u32 {
        (self.now / self.scenario.lease_seconds).saturating_sub(1)
    }

    /// Simulates one second.
    pub(crate) async fn advance(&mut self) -> Result<(), Box<dyn Error>> {
        self.service.advance(&self.scenario, self.now).await?;
        if self.now >= self.scenario.heartbeat_seconds {
            self.replace().await?;
        }
        for (peer, action) in self.schedule.take_due(self.now) {
            if self.population.is_running(peer) {
                self.act(peer, action).await?;
            }
        }
        let measured = self.now.checked_sub(self.scenario.lease_seconds);
        if let Some(seconds) = measured.filter(|seconds| seconds.is_multiple_of(self.scenario.step_seconds)) {
            self.measure(seconds);
        }
        self.now += 1;
        Ok(())
    }

    async fn replace(&mut self) -> Result<(), Box<dyn Error>> {
        // Fractions of a peer accumulate until a whole peer is due.
        self.replacements_due += self.scenario.replaced_per_second();
        while self.replacements_due >= 1.0 {
            self.replacements_due -= 1.0;
            self.stop_random_peer().await?;
            self.start_peer(self.now);
            self.counts.joined += 1;
        }
        Ok(())
    }

    fn start_peer(&mut self, at: u32) {
        let peer = self.population.start();
        self.memories.iter_mut().for_each(|(_, views)| views.add(at));
        self.schedule.add(peer, Action::Register, at);
    }

    async fn stop_random_peer(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(peer) = self.population.stop_random(&mut self.rng) else { return Ok(()) };
        self.counts.left += 1;
        self.memories.iter_mut().for_each(|(_, views)| views.forget(peer));
        if self.rng.f64() < self.scenario.deregistering && self.request_succeeds() {
            self.service.deregister(peer, self.now).await?;
        }
        Ok(())
    }

    /// Whether a request gets a response.
    fn request_succeeds(&mut self) -> bool {
        let lost = self.rng.f64() < self.scenario.loss;
        let succeeds = !lost && self.service.responds();
        self.counts.unanswered += u64::from(!succeeds);
        succeeds
    }

    async fn act(&mut self, peer: u32, action: Action) -> Result<(), Box<dyn Error>> {
        let Scenario { heartbeat_seconds, discover_seconds, .. } = self.scenario;
        let succeeds = self.request_succeeds();
        let includes_discover = self.scenario.includes_discover();
        match action {
            Action::Register if succeeds => {
                self.service.register(peer, self.now).await?;
                self.population.registered(peer, self.now);
                self.discover(peer).await?;
                self.schedule.add(peer, Action::Heartbeat, self.now + heartbeat_seconds);
                if !includes_discover {
                    self.schedule.add(peer, Action::Discover, self.now + discover_seconds);
                }
            }
            Action::Register => self.schedule.add(peer, Action::Register, self.now + RETRY_SECONDS),
            Action::Heartbeat => {
                if succeeds && !self.service.heartbeat(peer, self.now).await? {
                    return Err(format!("the service no longer knows peer {peer}").into());
                }
                if succeeds && includes_discover {
                    self.discover(peer).await?;
                }
                self.schedule.add(peer, Action::Heartbeat, self.now + heartbeat_seconds);
            }
            Action::Discover => {
                if succeeds {
                    self.discover(peer).await?;
                }
                self.schedule.add(peer, Action::Discover, self.now + discover_seconds);
            }
        }
        Ok(())
    }

    async fn discover(&mut self, peer: u32) -> Result<(), Box<dyn Error>> {
        self.counts.discovers += 1;
        for (sampler, views) in &mut self.memories {
            let response = self.service.discover(*sampler, peer, self.now).await?;
            views.learn(peer, &response, self.now);
        }
        Ok(())
    }

    fn measure(&mut self, seconds: u32) {
        let lease = self.scenario.lease_seconds;
        let is_removal_step = seconds.is_multiple_of(self.scenario.step_seconds * STEPS_PER_REMOVAL);
        for ((_, views), series) in self.memories.iter().zip(&mut self.series) {
            series.figures.push((seconds, self.graph.measure(&self.population, views, lease, self.now)));
            if is_removal_step {
                let share = self.graph.connected_share_without_best_known(&self.population, views);
                series.removals.push((seconds, share));
            }
        }
    }
}

/// The peers that act in each second: a ring of slots, one per second, that covers the longest
/// interval.
struct Schedule {
    seconds: Vec<Vec<(u32, Action)>>,
}

impl Schedule {
    fn new(scenario: &Scenario) -> Self {
        let longest = scenario.heartbeat_seconds.max(scenario.discover_seconds).max(RETRY_SECONDS);
        Self { seconds: (0..=longest).map(|_| Vec::new()).collect() }
    }

    fn add(&mut self, peer: u32, action: Action, at: u32) {
        let slot = at as usize % self.seconds.len();
        self.seconds[slot].push((peer, action));
    }

    fn take_due(&mut self, now: u32) -> Vec<(u32, Action)> {
        let slot = now as usize % self.seconds.len();
        std::mem::take(&mut self.seconds[slot])
    }
}
