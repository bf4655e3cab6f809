//! The command `aurora-discovery`: the service, a client, and tools for operators.

mod args;
mod connect;
mod cost;
#[cfg(feature = "dynamodb")]
mod create_table;
mod demo;
mod doctor;
mod escape;
mod failure;
#[cfg(feature = "packaging")]
mod generate;
mod guide;
mod key;
mod log;
mod output;
mod peer;
mod serve;
mod settings;
mod signal;
mod subcommand;
mod table;
mod terminal;
mod token;
mod transfer;

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use args::Command;
use failure::Failure;

/// mimalloc is faster than glibc's allocator for requests. For every request, axum allocates
/// several futures and services, some of them larger than a kilobyte. With glibc's allocator, these
/// allocations took a sixth of a heartbeat's processor time
/// (docs/decisions/0014-one-http-service.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if std::env::args_os().len() <= 1 {
        return match output::print(guide::GUIDE.trim_end()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => failure.report(),
        };
    }
    // Settings are parsed before a runtime exists, because `cost` and `--help` need none.
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
    // `serve` writes these warnings to its log instead.
    if !matches!(command, Command::Serve(_)) {
        settings::unknown_variables().iter().for_each(failure::warn);
    }
    match command {
        Command::Serve(args) => multi_thread_runtime()?.block_on(serve::run(*args)),
        Command::Demo(args) => multi_thread_runtime()?.block_on(demo::run(args)),
        #[cfg(feature = "dynamodb")]
        Command::CreateTable(args) => single_thread_runtime()?.block_on(create_table::run(args)),
        Command::Doctor(args) => single_thread_runtime()?.block_on(doctor::run(args)),
        Command::Cost(args) => cost::run(&args),
        Command::Keygen(args) => subcommand::keygen::run(&args),
        Command::Verify(args) => subcommand::verify::run(&args),
        Command::Settings => settings::print_table(),
        #[cfg(feature = "packaging")]
        Command::Completions(args) => generate::completions(&args),
        #[cfg(feature = "packaging")]
        Command::Man(args) => generate::man(&args),
        Command::Register(args) => single_thread_runtime()?.block_on(subcommand::register::run(args)),
        Command::Heartbeat(args) => single_thread_runtime()?.block_on(subcommand::heartbeat::run(args)),
        Command::Discover(args) => single_thread_runtime()?.block_on(subcommand::discover::run(args)),
        Command::Deregister(args) => single_thread_runtime()?.block_on(subcommand::deregister::run(args)),
        Command::Health(args) => single_thread_runtime()?.block_on(subcommand::health::run(args)),
        Command::Network(args) => single_thread_runtime()?.block_on(subcommand::network::run(args)),
        Command::Evict(args) => single_thread_runtime()?.block_on(subcommand::admin::evict(args)),
        Command::Block(args) => single_thread_runtime()?.block_on(subcommand::admin::block(args)),
        Command::Unblock(args) => single_thread_runtime()?.block_on(subcommand::admin::unblock(args)),
        Command::Blocks(args) => single_thread_runtime()?.block_on(subcommand::admin::blocks(args)),
        Command::Export(args) => single_thread_runtime()?.block_on(transfer::export(&args)),
        Command::Import(args) => single_thread_runtime()?.block_on(transfer::import(&args)),
        Command::Keep(args) => single_thread_runtime()?.block_on(subcommand::keep::run(args)),
    }
}

/// The runtime of a service.
fn multi_thread_runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(|error| runtime_error(&error))
}

/// The runtime of a subcommand that does not run a service.
fn single_thread_runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(|error| runtime_error(&error))
}

fn runtime_error(error: &io::Error) -> Failure {
    Failure::Other(format!("the runtime can't start its threads or timers: {error}"))
}
