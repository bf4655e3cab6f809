//! Simulates the life of a network on the real registry, and reports whether any peer becomes
//! isolated.
//!
//! The registry gets the time as an argument, so the simulation need not wait: an hour in the life
//! of a hundred thousand peers takes a minute or two. Each peer has three separate memories of
//! other peers. One is filled from the samples of the service, and the two others from the lists
//! that two other kinds of services would have returned for the same network. `docs/isolation.md`
//! describes the simulation, and `bench/isolation` runs it.

pub(crate) mod attack;
mod chart;
mod graph;
mod order;
mod population;
mod scenario;
mod service;
mod service_host;
mod simulation;
mod summary;
mod view;

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;
use std::{fs, io};

use scenario::Scenario;
use simulation::Simulation;

/// Simulates a network, and counts its components and its unknown peers.
#[derive(clap::Args)]
pub(crate) struct Isolation {
    #[command(flatten)]
    scenario: Scenario,
    /// The name of the run, in its chart and on standard error.
    #[arg(long, default_value = "network")]
    name: String,
    /// The file for the chart of the run, as SVG.
    #[arg(long)]
    picture: Option<PathBuf>,
}

impl Isolation {
    /// Prints the results as one line of JSON; shows its progress on standard error.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let simulation = runtime.block_on(self.simulate())?;
        if let Some(path) = &self.picture {
            fs::write(path, chart::draw(&self.name, &self.scenario, &simulation.series))?;
        }
        println!("{}", summary::of(&self.scenario, &simulation));
        Ok(())
    }

    async fn simulate(&self) -> Result<Simulation, Box<dyn Error>> {
        let started = Instant::now();
        let mut simulation = Simulation::new(&self.scenario)?;
        while !simulation.is_over() {
            simulation.advance().await?;
            if simulation.ends_a_lease() {
                self.progress(&simulation, started)?;
            }
        }
        Ok(simulation)
    }

    fn progress(&self, simulation: &Simulation, started: Instant) -> io::Result<()> {
        use io::Write as _;
        let lease = simulation.leases_done();
        let seconds = started.elapsed().as_secs();
        writeln!(io::stderr(), "{}: {lease} leases of {} done, {seconds} s", self.name, self.scenario.leases)
    }
}

#[cfg(test)]
mod tests;
