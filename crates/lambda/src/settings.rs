//! The settings: environment variables, under the names that `serve` reads too.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use aurora_dynamodb::DynamoOptions;
use aurora_http::ServiceOptions;
use aurora_protocol::{DiscoverBounds, Ttl};
use aurora_registry::Limits;

const SECONDS_PER_MINUTE: u32 = 60;
const MILLIS_PER_HOUR: u64 = 3_600_000;
/// One success in so many is logged unless all are: at a million requests a day, what a thousandth tells is enough, and
/// costs a thousandth.
const LOG_ONE_IN: u32 = 1_000;

/// A setting that breaks its rule, as a sentence that names both.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SettingsError(String);

impl SettingsError {
    pub(crate) fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

/// What the process is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) store: DynamoOptions,
    pub(crate) limits: Limits,
    pub(crate) cors: bool,
    pub(crate) request_timeout: Duration,
    pub(crate) log: String,
    pub(crate) log_one_in: u32,
    pub(crate) custom_metrics: bool,
}

impl Settings {
    /// Reads the settings from the environment that `variable` looks into.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        // An empty variable is what a template leaves of a setting that is not made.
        let environment = Environment(|name: &str| variable(name).filter(|value| !value.is_empty()));
        let all = environment.switch("AURORA_LOG_REQUESTS")?;
        let timeout = ServiceOptions::default().request_timeout.as_secs();
        Ok(Self {
            store: environment.store()?,
            limits: environment.limits()?,
            cors: !environment.switch("AURORA_NO_CORS")?,
            request_timeout: Duration::from_secs(environment.number(
                "AURORA_REQUEST_TIMEOUT",
                1..=86_400,
                timeout,
            )?),
            log: environment.text("AURORA_LOG").unwrap_or_else(|| "info".to_owned()),
            log_one_in: if all { 1 } else { LOG_ONE_IN },
            custom_metrics: environment.switch("AURORA_CUSTOM_METRICS")?,
        })
    }
}

struct Environment<V>(V);

impl<V: Fn(&str) -> Option<String>> Environment<V> {
    fn store(&self) -> Result<DynamoOptions, SettingsError> {
        let table = self.text("AURORA_TABLE").ok_or_else(|| {
            SettingsError("AURORA_TABLE must name the DynamoDB table that holds the peers".to_owned())
        })?;
        let mut options = DynamoOptions::new(table);
        options.endpoint = self.text("AURORA_DYNAMODB_ENDPOINT");
        Ok(options)
    }

    fn limits(&self) -> Result<Limits, SettingsError> {
        let defaults = Limits::default();
        let ttl = |name, default: u32| self.number(name, 1..=86_400, default).map(Ttl::from_secs);
        let minutes = defaults.ttl_default.as_secs() / SECONDS_PER_MINUTE;
        let minutes = self.number("AURORA_PEER_TTL_MINUTES", 1..=1_440, minutes)?;
        let hours = defaults.revival_window_millis / MILLIS_PER_HOUR;
        let hours: u64 = self.number("AURORA_REVIVAL_HOURS", 0..=8_760, hours)?;
        let limit = self.number("AURORA_DEFAULT_LIMIT", 1..=1_000, defaults.discover.default)?;
        let interval = defaults.heartbeat_interval_max_seconds;
        let limits = Limits {
            max_peers: self.number("AURORA_MAX_PEERS", 1..=u64::MAX, defaults.max_peers)?,
            ttl_default: Ttl::from_secs(minutes * SECONDS_PER_MINUTE),
            ttl_min: ttl("AURORA_TTL_MIN", defaults.ttl_min.as_secs())?,
            ttl_max: ttl("AURORA_TTL_MAX", defaults.ttl_max.as_secs())?,
            revival_window_millis: hours * MILLIS_PER_HOUR,
            heartbeat_interval_max_seconds: self.number(
                "AURORA_HEARTBEAT_INTERVAL_MAX",
                1..=86_400,
                interval,
            )?,
            discover: DiscoverBounds { default: limit, ..defaults.discover },
            holder_rule: !self.switch("AURORA_OPEN_REGISTRATIONS")?,
            ..defaults
        };
        limits.check().map_err(|error| SettingsError(error.to_string()))?;
        Ok(limits)
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
        default: T,
    ) -> Result<T, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            let (least, most) = range.into_inner();
            SettingsError(format!("{name} must be a whole number from {least} to {most}, not {text:?}"))
        })
    }

    fn switch(&self, name: &str) -> Result<bool, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(false) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
            "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
            _ => Err(SettingsError(format!("{name} must be true or false, not {text:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Settings, String> {
        let value =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::read(value).map_err(|error| error.to_string())
    }

    #[test]
    fn with_a_table_alone_everything_is_as_serve_has_it() {
        let settings = read(&[("AURORA_TABLE", "aurora-peers-dev")]).unwrap();
        assert_eq!(settings.store, DynamoOptions::new("aurora-peers-dev"));
        assert_eq!(settings.limits, Limits::default());
        assert!(settings.cors && !settings.custom_metrics);
    }

    #[test]
    fn what_is_set_counts() {
        let settings = read(&[
            ("AURORA_TABLE", "t"),
            ("AURORA_DYNAMODB_ENDPOINT", "http://127.0.0.1:8000"),
            ("AURORA_PEER_TTL_MINUTES", "10"),
            ("AURORA_REVIVAL_HOURS", "1"),
            ("AURORA_OPEN_REGISTRATIONS", "True"),
            ("AURORA_NO_CORS", "1"),
            ("AURORA_LOG_REQUESTS", "on"),
            ("AURORA_CUSTOM_METRICS", "true"),
            ("AURORA_LOG", ""),
        ])
        .unwrap();
        assert_eq!(settings.store.endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        assert_eq!(settings.limits.ttl_default.as_secs(), 600);
        assert_eq!(settings.limits.revival_window_millis, MILLIS_PER_HOUR);
        assert!(!settings.limits.holder_rule && !settings.cors && settings.custom_metrics);
        assert_eq!((settings.log_one_in, settings.log.as_str()), (1, "info"));
    }

    #[test]
    fn a_mistake_is_named_with_its_variable_and_rule() {
        for (name, value, rule) in [
            ("AURORA_TTL_MIN", "0", "from 1 to 86400"),
            ("AURORA_TTL_MAX", "soon", "whole number"),
            ("AURORA_NO_CORS", "perhaps", "true or false"),
        ] {
            let error = read(&[("AURORA_TABLE", "t"), (name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains(rule), "{error}");
        }
        assert!(read(&[]).unwrap_err().contains("AURORA_TABLE"));
        let contradiction = read(&[("AURORA_TABLE", "t"), ("AURORA_TTL_MIN", "400")]).unwrap_err();
        assert!(contradiction.contains("default lease"), "{contradiction}");
    }
}
