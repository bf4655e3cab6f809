//! The log: JSON lines on standard error, which Lambda hands to CloudWatch.

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, registry};

use crate::settings::SettingsError;

/// Starts the log with a filter as `serve` takes it.
pub(crate) fn start(filter: &str) -> Result<(), SettingsError> {
    let lines = layer().json().flatten_event(true).with_writer(io::stderr).with_filter(parse(filter)?);
    let started = registry().with(lines).try_init();
    started.map_err(|error| SettingsError::new(format!("the log can't be started: {error}")))
}

fn parse(filter: &str) -> Result<Targets, SettingsError> {
    // A lone word that is no level would count as the name of a target, and silence everything else.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let lone_words = filter.split(',').filter(|part| !part.contains('='));
    let parsed = if lone_words.map(str::trim).all(is_level) { filter.parse().ok() } else { None };
    parsed.ok_or_else(|| {
        SettingsError::new(format!(
            "AURORA_LOG must be a level (error, warn, info, debug, trace, off) or a filter such as \
             info,aurora_http=debug, not {filter:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_with_exceptions() {
        for good in ["info", "OFF", "warn,aurora_http=debug", "aurora_http=trace"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "info,aurora_http", "a=b=c"] {
            assert!(parse(bad).unwrap_err().to_string().contains("AURORA_LOG"), "{bad}");
        }
    }
}
