//! The log: standard error, text for people and JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;
use crate::serve::LogFormat;

/// Starts the log.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let parsed = EnvFilter::try_new(filter).map_err(|error| {
        Failure::flag("--log", format_args!("{filter:?} is no level and no filter: {error}"))
    })?;
    let to_terminal = io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(parsed).with_writer(io::stderr).with_ansi(to_terminal);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Auto if to_terminal => builder.try_init(),
        LogFormat::Auto | LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::Other(format!("the log can't be started: {error}")))
}
