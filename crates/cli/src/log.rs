//! The log: standard error, text for people and JSON for machines.

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, registry};

use crate::failure::Failure;
use crate::serve::LogFormat;

/// Starts the log.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = parse(filter)?;
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

fn parse(filter: &str) -> Result<Targets, Failure> {
    let rule = format_args!(
        "{filter:?} must be a level (error, warn, info, debug, trace, off) or a filter such as info,aurora_http=debug"
    )
    .to_string();
    // A lone word that is no level would count as the name of a target, and silence everything else.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    if filter.split(',').any(|part| !part.contains('=') && !is_level(part.trim())) {
        return Err(Failure::flag("--log", rule));
    }
    filter.parse().map_err(|_| Failure::flag("--log", rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_with_exceptions() {
        for good in ["info", "OFF", "warn,aurora_http=debug", "aurora_http=trace"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "info,aurora_http", "a=b=c", "aurora_http=loud"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.starts_with("--log") && error.contains("must be a level"), "{bad}: {error}");
        }
    }
}
