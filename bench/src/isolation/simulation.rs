//! The life of the network, second by second.

use std::error::Error;

use super::graph::{Figures, Graph};
use super::population::Population;
use super::scenario::{Sampler, Scenario};
use super::service::Service;
use super::view::Views;

/// The interval of the robustness test, in steps. The test costs as much as all other work.
const STEPS_PER_BLOW: u32 = 6;
/// When a newcomer without a response tries again, in seconds.
const RETRY_SECONDS: u32 = 10;

pub(crate) struct Simulation {
    scenario: Scenario,
    now: u32,
    rng: fastrand::Rng,
    service: Service,
    population: Population,
    memories: Vec<(Sampler, Views)>,
    agenda: Agenda,
    graph: Graph,
    /// The number of peers that are still to leave and be replaced, including a fraction of one.
    owed: f64,
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
    pub(crate) blows: Vec<(u32, f64)>,
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
enum Turn {
    Register,
    Heartbeat,
    Discover,
}

impl Simulation {
    pub(crate) fn new(scenario: &Scenario) -> Result<Self, Box<dyn Error>> {
        // The service uses the random number generator of its thread.
        fastrand::seed(scenario.seed);
        let rng = fastrand::Rng::with_seed(scenario.seed);
        let samplers = if scenario.ours_only { &Sampler::ALL[..1] } else { &Sampler::ALL[..] };
        let (k, answers) = (usize::try_from(scenario.k)?, usize::try_from(scenario.answers)?);
        let series = |sampler: &Sampler| Series { sampler: *sampler, figures: Vec::new(), blows: Vec::new() };
        let mut simulation = Self {
            scenario: scenario.clone(),
            now: 0,
            rng,
            service: Service::new(scenario)?,
            population: Population::default(),
            memories: samplers.iter().map(|sampler| (*sampler, Views::new(k, answers))).collect(),
            agenda: Agenda::new(scenario),
            graph: Graph::default(),
            owed: 0.0,
            series: samplers.iter().map(series).collect(),
            counts: Counts::default(),
        };
        for _ in 0..scenario.peers {
            let at = simulation.rng.u32(..scenario.heartbeat_seconds);
            simulation.arrive(at);
        }
        Ok(simulation)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.now > self.scenario.lease_seconds * (self.scenario.leases + 1)
    }

    /// Whether the last second was the last one of a lease.
    pub(crate) fn ends_a_lease(&self) -> bool {
        self.now.is_multiple_of(self.scenario.lease_seconds)
    }

    /// How many lease durations have passed, without the first one, in which the network forms.
    pub(crate) fn leases_done(&self) -> u32 {
        (self.now / self.scenario.lease_seconds).saturating_sub(1)
    }

    /// Simulates one second.
    pub(crate) async fn second(&mut self) -> Result<(), Box<dyn Error>> {
        self.service.advance(&self.scenario, self.now).await?;
        if self.now >= self.scenario.heartbeat_seconds {
            self.replace().await?;
        }
        for (peer, turn) in self.agenda.take(self.now) {
            if self.population.runs(peer) {
                self.take_turn(peer, turn).await?;
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
        self.owed += self.scenario.replaced_a_second();
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            self.depart().await?;
            self.arrive(self.now);
            self.counts.joined += 1;
        }
        Ok(())
    }

    fn arrive(&mut self, at: u32) {
        let peer = self.population.arrive();
        self.memories.iter_mut().for_each(|(_, views)| views.add(at));
        self.agenda.note(peer, Turn::Register, at);
    }

    async fn depart(&mut self) -> Result<(), Box<dyn Error>> {
        let Some(peer) = self.population.leave(&mut self.rng) else { return Ok(()) };
        self.counts.left += 1;
        self.memories.iter_mut().for_each(|(_, views)| views.forget(peer));
        if self.rng.f64() < self.scenario.deregistering && self.reaches() {
            self.service.deregister(peer, self.now).await?;
        }
        Ok(())
    }

    /// Whether a request gets a response.
    fn reaches(&mut self) -> bool {
        let lost = self.rng.f64() < self.scenario.loss;
        let answered = !lost && self.service.answers();
        self.counts.unanswered += u64::from(!answered);
        answered
    }

    async fn take_turn(&mut self, peer: u32, turn: Turn) -> Result<(), Box<dyn Error>> {
        let Scenario { heartbeat_seconds, discover_seconds, .. } = self.scenario;
        let answered = self.reaches();
        let rides = self.scenario.rides();
        match turn {
            Turn::Register if answered => {
                self.service.register(peer, self.now).await?;
                self.population.registered(peer, self.now);
                self.discover(peer).await?;
                self.agenda.note(peer, Turn::Heartbeat, self.now + heartbeat_seconds);
                if !rides {
                    self.agenda.note(peer, Turn::Discover, self.now + discover_seconds);
                }
            }
            Turn::Register => self.agenda.note(peer, Turn::Register, self.now + RETRY_SECONDS),
            Turn::Heartbeat => {
                if answered && !self.service.heartbeat(peer, self.now).await? {
                    return Err(format!("the service has forgotten peer {peer}").into());
                }
                if answered && rides {
                    self.discover(peer).await?;
                }
                self.agenda.note(peer, Turn::Heartbeat, self.now + heartbeat_seconds);
            }
            Turn::Discover => {
                if answered {
                    self.discover(peer).await?;
                }
                self.agenda.note(peer, Turn::Discover, self.now + discover_seconds);
            }
        }
        Ok(())
    }

    async fn discover(&mut self, peer: u32) -> Result<(), Box<dyn Error>> {
        self.counts.discovers += 1;
        for (sampler, views) in &mut self.memories {
            let answer = self.service.discover(*sampler, peer, self.now).await?;
            views.learn(peer, &answer, self.now);
        }
        Ok(())
    }

    fn measure(&mut self, seconds: u32) {
        let lease = self.scenario.lease_seconds;
        let blow = seconds.is_multiple_of(self.scenario.step_seconds * STEPS_PER_BLOW);
        for ((_, views), series) in self.memories.iter().zip(&mut self.series) {
            series.figures.push((seconds, self.graph.look(&self.population, views, lease, self.now)));
            if blow {
                let share = self.graph.share_left_when_the_best_known_vanish(&self.population, views);
                series.blows.push((seconds, share));
            }
        }
    }
}

/// The peers that act in each second: a ring as long as the longest interval.
struct Agenda {
    seconds: Vec<Vec<(u32, Turn)>>,
}

impl Agenda {
    fn new(scenario: &Scenario) -> Self {
        let longest = scenario.heartbeat_seconds.max(scenario.discover_seconds).max(RETRY_SECONDS);
        Self { seconds: (0..=longest).map(|_| Vec::new()).collect() }
    }

    fn note(&mut self, peer: u32, turn: Turn, at: u32) {
        let place = at as usize % self.seconds.len();
        self.seconds[place].push((peer, turn));
    }

    fn take(&mut self, now: u32) -> Vec<(u32, Turn)> {
        let place = now as usize % self.seconds.len();
        std::mem::take(&mut self.seconds[place])
    }
}
