//! The log, on standard error: text for people and JSON for machines.

use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal as _};

use clap::ValueEnum;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, Registry, registry, reload};

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

/// The log, once it is started.
pub(crate) struct Log {
    filter: reload::Handle<Targets, Registry>,
    is_json: bool,
}

impl Log {
    /// Starts the log.
    pub(crate) fn start(filter: Targets, format: LogFormat) -> Result<Self, Failure> {
        let to_terminal = io::stderr().is_terminal();
        let is_json = match format {
            LogFormat::Text => false,
            LogFormat::Json => true,
            LogFormat::Auto => !to_terminal,
        };
        let (filter, handle) = reload::Layer::new(filter);
        // If a line can't be written, the logging library reports this on standard error by
        // default. The log itself is on standard error, so the report would fail too, and its
        // failure would panic.
        let lines = layer().with_writer(io::stderr).log_internal_errors(false);
        let started = if is_json {
            registry().with(lines.json().flatten_event(true).with_filter(filter)).try_init()
        } else {
            let colours = may_colour(to_terminal, env::var_os("NO_COLOR").as_deref());
            registry().with(lines.with_ansi(colours).with_filter(filter)).try_init()
        };
        started.map_err(|error| Failure::Other(format!("the log can't be started: {error}")))?;
        Ok(Self { filter: handle, is_json })
    }

    /// Replaces the filter.
    pub(crate) fn set_filter(&self, filter: Targets) {
        // This fails only if the log no longer exists.
        let _ = self.filter.reload(filter);
    }

    /// Logs a failure and returns `Failure::Logged` if the log is JSON, so that every line on
    /// standard error is JSON. Otherwise returns the failure unchanged, for the caller to print.
    pub(crate) fn report(&self, failure: Failure) -> Failure {
        match failure.exit_code() {
            Some(code) if self.is_json && tracing::enabled!(tracing::Level::ERROR) => {
                tracing::error!("{failure}");
                Failure::Logged(code)
            }
            _ => failure,
        }
    }
}

/// Whether the log has colours. Any value of `NO_COLOR` but an empty one turns them off
/// (<https://no-color.org>).
fn may_colour(to_terminal: bool, no_color: Option<&OsStr>) -> bool {
    to_terminal && no_color.is_none_or(OsStr::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_colours_and_only_without_no_color() {
        assert!(may_colour(true, None) && may_colour(true, Some(OsStr::new(""))));
        assert!(!may_colour(true, Some(OsStr::new("1"))) && !may_colour(true, Some(OsStr::new("0"))));
        assert!(!may_colour(false, None));
    }
}
