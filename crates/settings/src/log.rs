//! The settings of the log.

use clap::Args;
use tracing_subscriber::filter::{LevelFilter, Targets};

/// The settings of the log.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// What to log: a level (error, warn, info, debug, trace, off) or a filter such as
    /// `info,aurora_discovery_http=debug`.
    #[arg(long, env = "AURORA_LOG", default_value = "info", value_name = "FILTER", value_parser = filter)]
    pub log: Targets,
}

fn filter(text: &str) -> Result<Targets, String> {
    // A single word that is not a level would be parsed as the name of a target, and would disable
    // all other logging.
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let mut lone_words = text.split(',').filter(|part| !part.contains('=')).map(str::trim);
    let parsed = if lone_words.all(is_level) { text.parse().ok() } else { None };
    parsed.ok_or_else(|| {
        "must be a level (error, warn, info, debug, trace, off) or a filter such as info,aurora_discovery_http=debug".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_with_exceptions_by_module() {
        for good in ["info", "OFF", "warn,aurora_discovery_http=debug", "aurora_discovery_http=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "verbose", "info,aurora_discovery_http", "a=b=c", "aurora_discovery_http=loud"] {
            assert!(filter(bad).unwrap_err().starts_with("must be a level"), "{bad}");
        }
    }
}
