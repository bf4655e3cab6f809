//! The settings: the environment variables of `serve` that apply to a function, and those of the
//! function itself.

use aurora_discovery_dynamodb::DynamoOptions;
use aurora_discovery_http::{IceServers, KeyRing, Keys, ServiceOptions};
use aurora_discovery_registry::Limits;
pub(crate) use aurora_discovery_settings::SettingError as SettingsError;
use aurora_discovery_settings::{
    LogArgs, RegistryArgs, ServiceArgs, Sources, TableArgs, UrlList, parse, stun_urls, turn_urls,
    unknown_variables,
};
use clap::Args;
use tracing_subscriber::filter::Targets;

/// By default, one in this many successful requests is logged. At a million requests a day, these
/// are still a thousand lines, at a thousandth of the cost of logging all requests.
const LOG_ONE_IN: u32 = 1_000;

/// The environment variables of the function. One of them is a secret, so this type does not
/// implement `Debug`.
#[derive(Args)]
struct Environment {
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    log: LogArgs,
    /// The number of the operator's proxies in front of the API that append the address of their
    /// client to `X-Forwarded-For`.
    #[arg(long, env = "AURORA_TRUSTED_HOPS", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=16))]
    trusted_hops: u8,
    /// The API keys, as the file of `serve --keys` has them; `;` ends a line too. They are hashes,
    /// so that they need no other protection than the function's settings.
    #[arg(long, env = "AURORA_KEYS_TEXT")]
    keys_text: Option<String>,
    /// The URLs of STUN servers that are sent to peers with a mailbox, with commas between.
    #[arg(long, env = "AURORA_STUN_URLS", value_parser = stun_urls)]
    stun_urls: Option<UrlList>,
    /// The URLs of TURN servers that are sent to peers with a mailbox, with a password each.
    #[arg(long, env = "AURORA_TURN_URLS", value_parser = turn_urls)]
    turn_urls: Option<UrlList>,
    /// The secret that the TURN servers derive passwords from: coturn's static-auth-secret.
    #[arg(long, env = "AURORA_TURN_SECRET_TEXT")]
    turn_secret_text: Option<String>,
    /// Publish the function's counts as CloudWatch metrics.
    #[arg(long, env = "AURORA_CUSTOM_METRICS")]
    custom_metrics: bool,
}

impl Environment {
    fn keys(&self, sources: &Sources) -> Result<Option<KeyRing>, SettingsError> {
        let (name, require) = (sources.name("keys_text"), sources.name("require_key"));
        let parse = |text| Keys::parse(text).map_err(|error| SettingsError::new(format!("{name}: {error}")));
        match &self.keys_text {
            Some(text) => Ok(Some(KeyRing::new(parse(text)?))),
            None if self.service.require_key.is_some() => {
                Err(SettingsError::new(format!("{require} requires {name}, the keys")))
            }
            None => Ok(None),
        }
    }
}

impl Environment {
    /// The STUN and TURN servers. A secret without TURN servers has no effect.
    fn ice_servers(&self, sources: &Sources) -> Result<IceServers, SettingsError> {
        let urls = |list: &Option<UrlList>| list.clone().map_or_else(Vec::new, Vec::from);
        let secret = self.turn_secret_text.as_deref().filter(|_| self.turn_urls.is_some());
        IceServers::new(urls(&self.stun_urls), urls(&self.turn_urls), secret).map_err(|_| {
            let (urls, secret) = (sources.name("turn_urls"), sources.name("turn_secret_text"));
            SettingsError::new(format!("{urls} requires {secret}, the servers' secret"))
        })
    }
}

/// The settings of the process.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) store: DynamoOptions,
    pub(crate) limits: Limits,
    pub(crate) service: ServiceOptions,
    pub(crate) log: Targets,
    pub(crate) trusted_hops: usize,
    pub(crate) custom_metrics: bool,
    /// Warnings about environment variables that look like settings but are unknown.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Reads the settings from the environment.
    pub(crate) fn read() -> Result<Self, SettingsError> {
        Self::parse(&[])
    }

    /// Reads the settings with flags that override the environment.
    fn parse(flags: &[&str]) -> Result<Self, SettingsError> {
        let parsed: Result<(Environment, Sources), _> = parse(flags);
        let (given, sources) = parsed.map_err(|error| SettingsError::new(error.to_string()))?;
        let mut service = given.service.options();
        service.log_one_in = if given.service.log_requests { 1 } else { LOG_ONE_IN };
        service.keys = given.keys(&sources)?;
        service.ice_servers = given.ice_servers(&sources)?;
        Ok(Self {
            store: given.table.options(&sources)?,
            limits: given.registry.table_limits(&sources)?,
            service,
            log: given.log.log,
            trusted_hops: given.trusted_hops.into(),
            custom_metrics: given.custom_metrics,
            warnings: unknown_variables(&Environment::augment_args(clap::Command::new("function"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use saphyr::{LoadableYamlNode as _, Yaml};

    use super::*;

    fn read(flags: &[&str]) -> Result<Settings, String> {
        Settings::parse(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn with_only_a_table_the_defaults_are_those_of_serve() {
        let settings = read(&["--table=aurora-peers-dev"]).unwrap();
        assert_eq!(settings.store, DynamoOptions::new("aurora-peers-dev"));
        let (page_bytes, page_read_units) = (131_072, Some(128));
        assert_eq!(
            settings.limits,
            Limits { max_archetypes_per_peer: 8, page_bytes, page_read_units, ..Limits::default() }
        );
        assert_eq!(
            (settings.service.request_timeout.as_secs(), settings.service.log_one_in),
            (10, LOG_ONE_IN)
        );
        assert!(settings.service.cors && !settings.custom_metrics);
        assert_eq!(settings.service.rate_limits, None, "the gateway throttles");
    }

    #[test]
    fn settings_override_the_defaults() {
        let settings = read(&[
            "--table=t",
            "--dynamodb-endpoint=http://127.0.0.1:8000",
            "--peer-ttl-minutes=10",
            "--revival-hours=1",
            "--heartbeat-interval-min=60",
            "--max-peers-per-source=0",
            "--max-archetypes-per-peer=7",
            "--open-registrations=True",
            "--no-cors=1",
            "--request-timeout=7",
            "--log-requests=on",
            "--custom-metrics=true",
            "--trusted-hops=2",
            "--log=warn",
        ])
        .unwrap();
        assert_eq!(settings.store.endpoint.as_deref(), Some("http://127.0.0.1:8000"));
        assert_eq!(settings.limits.ttl_default.as_secs(), 600);
        assert_eq!(settings.limits.revival_window_millis, 3_600_000);
        assert_eq!(settings.limits.heartbeat_interval_min_seconds, 60);
        assert_eq!(settings.limits.max_peers_per_source, 0);
        assert_eq!(settings.limits.max_archetypes_per_peer, 7);
        assert!(!settings.limits.holder_rule && !settings.service.cors && settings.custom_metrics);
        assert_eq!((settings.service.log_one_in, settings.service.request_timeout.as_secs()), (1, 7));
        assert_eq!(settings.log.to_string(), "warn");
        assert_eq!(settings.trusted_hops, 2);
    }

    #[test]
    fn an_invalid_setting_is_reported_with_its_rule() {
        for (flag, rule) in [
            ("--ttl-min=0", "0 is not in 1..=86400"),
            ("--ttl-max=soon", "invalid digit"),
            ("--no-cors=perhaps", "not a boolean"),
            ("--ttl-min=400", "default lease"),
        ] {
            let error = read(&["--table=t", flag]).unwrap_err();
            assert!(error.contains(rule), "{error}");
        }
        let keys = |text: &str| read(&["--table=t", &format!("--keys-text={text}"), "--require-key=write"]);
        let hash = "0a".repeat(32);
        assert!(keys(&format!("a write {hash}; b read {}", "0b".repeat(32))).unwrap().service.keys.is_some());
        assert!(keys(&format!("a all {hash}")).unwrap_err().contains("line 1"));
        assert!(read(&["--table=t", "--require-key=write"]).unwrap_err().contains("AURORA_KEYS_TEXT"));
        assert!(read(&[]).unwrap_err().contains("AURORA_TABLE"));
    }

    #[test]
    fn turn_servers_require_their_secret() {
        let with = |flags: &[&str]| read(&[&["--table=t"], flags].concat());
        let servers = with(&["--stun-urls=stun:a", "--turn-urls=turn:b,turns:c", "--turn-secret-text=north"]);
        let shown = format!("{:?}", servers.unwrap().service.ice_servers);
        assert!(shown.contains(r#"["stun:a"]"#) && shown.contains(r#"["turn:b", "turns:c"]"#), "{shown}");
        let error = with(&["--turn-urls=turn:b"]).unwrap_err();
        assert_eq!(error, "--turn-urls requires AURORA_TURN_SECRET_TEXT, the servers' secret");
        assert!(with(&["--stun-urls=turn:a"]).unwrap_err().contains("stun:"));
        assert!(with(&["--turn-secret-text=north"]).is_ok());
    }

    /// Settings of the function that the template omits, each with the reason.
    const NOT_IN_THE_TEMPLATE: [(&str, &str); 2] = [
        ("AURORA_DYNAMODB_ENDPOINT", "the stack's table is at AWS's own endpoint"),
        (
            "AURORA_REQUEST_TIMEOUT",
            "TimeoutSeconds bounds an invocation, and a response must be ready before that",
        ),
    ];

    #[test]
    fn the_template_sets_exactly_the_variables_that_the_function_reads() {
        let command = Environment::augment_args(clap::Command::new("function"));
        let declared: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|arg| arg.get_env())
            .map(|name| name.to_str().unwrap().to_owned())
            .collect();
        let template = include_str!("../../../Infrastructure/P2P/cloudformation.yaml");
        let template = &Yaml::load_from_str(template).unwrap()[0];
        let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
        let set = variables.as_mapping().unwrap().keys().map(|name| name.as_str().unwrap().to_owned());
        let expected: BTreeSet<String> =
            set.chain(NOT_IN_THE_TEMPLATE.map(|(name, _)| name.to_owned())).collect();
        assert_eq!(declared, expected);
    }
}
