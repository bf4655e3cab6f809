//! The tools of the benchmarks: a baseline server, a loader of peers, an open-loop load generator,
//! and a simulated network.
//!
//! The drivers `bench/speed`, `bench/size` and `bench/isolation` start these tools, which can also
//! be run manually.
#![allow(clippy::print_stdout, reason = "a table on standard output is what these tools are for")]

mod bare;
mod fill;
mod isolation;
mod latency;
mod openloop;
mod pool;
mod seed;
mod storm;
mod watch;
mod wire;

use std::error::Error;

use clap::Parser;

/// The service's own allocator, so that the baseline server differs from it in nothing else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tools for Aurora Discovery's benchmarks.
#[derive(Parser)]
enum Tool {
    /// Serves constants with the service's headers: the limit that the HTTP library sets.
    Bare(bare::Bare),
    /// Registers many seed-like peers as fast as the service takes them.
    Fill(fill::Fill),
    /// Prints the ids that `fill` registers, one a line.
    Ids(seed::Ids),
    /// Simulates a network and counts the components, the unknown and the forgotten.
    Isolation(isolation::Isolation),
    /// Sends at a fixed rate whatever the service does, and counts latency from when a request was due.
    Openloop(openloop::OpenLoop),
    /// Beats for many peers as today's clients do, through an outage of the service.
    Storm(storm::Storm),
    /// Watches a network that changes, and counts what is lost and how late the rest comes.
    Watch(watch::Watch),
}

fn main() -> Result<(), Box<dyn Error>> {
    match Tool::parse() {
        Tool::Bare(tool) => Ok(tool.run()?),
        Tool::Fill(tool) => Ok(tool.run()?),
        Tool::Ids(tool) => Ok(tool.run()?),
        Tool::Isolation(tool) => tool.run(),
        Tool::Openloop(tool) => Ok(tool.run()?),
        Tool::Storm(tool) => Ok(tool.run()?),
        Tool::Watch(tool) => tool.run(),
    }
}
