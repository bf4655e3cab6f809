//! The command `aurora-discovery`: the service, and the verbs of a client.

mod args;
mod connect;
mod cost;
#[cfg(feature = "dynamodb")]
mod create_table;
mod demo;
mod doctor;
mod escape;
mod failure;
mod log;
mod output;
mod peer;
mod serve;
mod settings;
mod signal;
mod table;
mod terminal;
mod verb;

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use args::Command;
use failure::Failure;

/// axum boxes some futures and services for every request, several of them longer than a kilobyte.
/// glibc's allocator spent a sixth of a heartbeat's processor time on them
/// (docs/decisions/0014-one-http-service.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match settings::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => return Failure::from(error).report(),
    };
    match run(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => many_threads()?.block_on(serve::run(*args)),
        Command::Demo(args) => many_threads()?.block_on(demo::run(args)),
        #[cfg(feature = "dynamodb")]
        Command::CreateTable(args) => one_thread()?.block_on(create_table::run(args)),
        Command::Doctor(args) => one_thread()?.block_on(doctor::run(args)),
        Command::Cost(args) => cost::run(&args),
        Command::Settings => settings::print_table(),
        Command::Register(args) => one_thread()?.block_on(verb::register::run(args)),
        Command::Heartbeat(args) => one_thread()?.block_on(verb::heartbeat::run(args)),
        Command::Discover(args) => one_thread()?.block_on(verb::discover::run(args)),
        Command::Deregister(args) => one_thread()?.block_on(verb::deregister::run(args)),
        Command::Health(args) => one_thread()?.block_on(verb::health::run(args)),
        Command::Network(args) => one_thread()?.block_on(verb::network::run(args)),
        Command::Keep(args) => one_thread()?.block_on(verb::keep::run(args)),
    }
}

/// The runtime of a service.
fn many_threads() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

/// The runtime of a client's verb, which does one thing at a time.
fn one_thread() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|error| no_runtime(&error))
}

fn no_runtime(error: &io::Error) -> Failure {
    Failure::Other(format!("the system refuses threads or timers: {error}"))
}
