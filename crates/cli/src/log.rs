//! The log, on standard error: text for people and JSON for machines.

use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, registry};

use crate::failure::Failure;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts the log.
pub(crate) fn start(filter: Targets, format: LogFormat) -> Result<(), Failure> {
    let to_terminal = io::stderr().is_terminal();
    let started = match format {
        LogFormat::Text => start_text(filter, to_terminal),
        LogFormat::Auto if to_terminal => start_text(filter, to_terminal),
        LogFormat::Auto | LogFormat::Json => start_json(filter),
    };
    started.map_err(|error| Failure::Other(format!("the log can't be started: {error}")))
}

fn start_text(filter: Targets, colours: bool) -> Result<(), TryInitError> {
    registry().with(layer().with_writer(io::stderr).with_ansi(colours).with_filter(filter)).try_init()
}

fn start_json(filter: Targets) -> Result<(), TryInitError> {
    registry().with(layer().json().flatten_event(true).with_writer(io::stderr).with_filter(filter)).try_init()
}
