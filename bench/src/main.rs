//! The tools of the benchmarks, such as a baseline server, load generators and simulated networks.
//!
//! The scripts in `bench/` start these tools, which can also be run manually.
#![allow(clippy::print_stdout, reason = "the tools print their results on standard output")]

mod baseline;
mod crash;
mod drive;
mod fill;
mod isolation;
mod keepers;
mod latency;
mod mailbox;
mod openloop;
mod pool;
mod protocol;
mod signed;
mod storm;
mod synthetic;
mod watch;
mod wire;

use std::error::Error;

use clap::Parser;

/// The allocator of the service, so that a comparison of the baseline server with the service does
/// not measure a difference between allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tools for Aurora Discovery's benchmarks.
#[derive(Parser)]
enum Tool {
    /// Simulates a network in which an attacker owns many peers, and measures its share of
    /// responses.
    Attack(isolation::attack::Attack),
    /// Serves constant responses with the headers of the service: the limit of the HTTP library.
    #[command(name = "bare")]
    Baseline(baseline::Baseline),
    /// Does one duty of a peer as fast as a system responds.
    Drive(drive::Drive),
    /// Registers many peers like those of legacy clients, as fast as the service accepts
    /// them.
    Fill(fill::Fill),
    /// Prints the ids that `fill` registers, one per line.
    Ids(synthetic::Ids),
    /// Simulates a network, and counts its components and its unknown peers.
    Isolation(isolation::Isolation),
    /// Counts the peers that a system still knows.
    Known(crash::Known),
    /// Keeps peers registered with clients that know several services.
    Keepers(keepers::Keepers),
    /// Lets pairs of peers exchange an offer and an answer through their mailboxes, and measures
    /// delays.
    Mailbox(mailbox::MailboxLoad),
    /// Sends requests at a fixed rate, however the service responds, and measures latency from the
    /// due times.
    Openloop(openloop::OpenLoop),
    /// Waits until a system responds.
    Ready(crash::Ready),
    /// Measures the processor time of signed registrations.
    Signed(signed::Signed),
    /// Sends heartbeats for many peers, as legacy clients do, during an outage of the service.
    Storm(storm::Storm),
    /// Watches a network that changes, and measures lost events and delays.
    Watch(watch::Watch),
}

fn main() -> Result<(), Box<dyn Error>> {
    match Tool::parse() {
        Tool::Attack(tool) => tool.run(),
        Tool::Baseline(tool) => Ok(tool.run()?),
        Tool::Drive(tool) => Ok(tool.run()?),
        Tool::Fill(tool) => Ok(tool.run()?),
        Tool::Ids(tool) => Ok(tool.run()?),
        Tool::Isolation(tool) => tool.run(),
        Tool::Known(tool) => Ok(tool.run()?),
        Tool::Keepers(tool) => tool.run(),
        Tool::Mailbox(tool) => tool.run(),
        Tool::Openloop(tool) => Ok(tool.run()?),
        Tool::Ready(tool) => Ok(tool.run()?),
        Tool::Signed(tool) => tool.run(),
        Tool::Storm(tool) => Ok(tool.run()?),
        Tool::Watch(tool) => tool.run(),
    }
}
