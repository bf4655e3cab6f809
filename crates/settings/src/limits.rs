//! Leases, and the limits of a registry.

use aurora_discovery_protocol::{DiscoverBounds, Ttl};
use aurora_discovery_registry::{Limits, SignaturePolicy};
use clap::{Args, value_parser};

use crate::{SettingError, Sources};

const SECONDS_PER_MINUTE: u32 = 60;
const MILLIS_PER_HOUR: u64 = 3_600_000;
/// The default of `max_archetypes_per_peer` on a table, where each archetype costs two write units
/// per registration: a stranger who registers as fast as the throttle allows must not cause a large
/// bill.
const TABLE_ARCHETYPES_PER_PEER: u32 = 8;

/// The rules of the registry, which apply to every store.
#[derive(Clone, Debug, Args)]
pub struct RegistryArgs {
    /// The lease in minutes of a peer that requests no duration.
    #[arg(long, env = "AURORA_PEER_TTL_MINUTES", default_value_t = Limits::default().ttl_default.as_secs() / SECONDS_PER_MINUTE, value_name = "MINUTES", value_parser = value_parser!(u32).range(1..=1_440))]
    pub peer_ttl_minutes: u32,
    /// The shortest lease that a peer can request.
    #[arg(long, env = "AURORA_TTL_MIN", default_value_t = Limits::default().ttl_min.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub ttl_min: u32,
    /// The longest lease that a peer can request.
    #[arg(long, env = "AURORA_TTL_MAX", default_value_t = Limits::default().ttl_max.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub ttl_max: u32,
    /// How long after the end of its lease a heartbeat revives a peer.
    #[arg(long, env = "AURORA_REVIVAL_HOURS", default_value_t = Limits::default().revival_window_millis / MILLIS_PER_HOUR, value_name = "HOURS", value_parser = value_parser!(u64).range(0..=8_760))]
    pub revival_hours: u64,
    /// The longest heartbeat interval that the service requests.
    #[arg(long, env = "AURORA_HEARTBEAT_INTERVAL_MAX", default_value_t = Limits::default().heartbeat_interval_max_seconds, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub heartbeat_interval_max: u32,
    /// The shortest heartbeat interval that the service requests, including jitter.
    #[arg(long, env = "AURORA_HEARTBEAT_INTERVAL_MIN", default_value_t = Limits::default().heartbeat_interval_min_seconds, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub heartbeat_interval_min: u32,
    /// The number of peers in a discover response if the request has no limit.
    #[arg(long, env = "AURORA_DEFAULT_LIMIT", default_value_t = Limits::default().discover.default, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1_000))]
    pub default_limit: u32,
    /// The maximum number of peers, live and dormant; further newcomers are rejected.
    #[arg(long, env = "AURORA_MAX_PEERS", default_value_t = Limits::default().max_peers, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    pub max_peers: u64,
    /// The maximum number of live peers from one source: an IPv4 address or an IPv6 /64; 0 means no
    /// maximum.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_SOURCE", default_value_t = Limits::default().max_peers_per_source, value_name = "COUNT", value_parser = value_parser!(u32))]
    pub max_peers_per_source: u32,
    /// The maximum number of archetypes of one peer; by default 32, and 8 on a DynamoDB table.
    #[arg(long, env = "AURORA_MAX_ARCHETYPES_PER_PEER", value_name = "COUNT", value_parser = value_parser!(u32).range(0..=32))]
    pub max_archetypes_per_peer: Option<u32>,
    /// Allow any client, not only the holder, to replace or deregister a live peer.
    #[arg(long, env = "AURORA_OPEN_REGISTRATIONS")]
    pub open_registrations: bool,
    /// What signed registrations mean: `open` ignores signatures, `signed-preferred` locks a name to
    /// the key that signs it, `signed-only` also refuses registrations without a signature.
    #[arg(long, env = "AURORA_SIGNATURES", default_value = "signed-preferred", value_name = "POLICY", value_parser = signatures)]
    pub signatures: SignaturePolicy,
    /// The name of this service that a signed registration may give as `aud`, so that no other
    /// service accepts it.
    #[arg(long, env = "AURORA_AUDIENCE", value_name = "NAME")]
    pub audience: Option<String>,
}

fn signatures(text: &str) -> Result<SignaturePolicy, String> {
    match text {
        "open" => Ok(SignaturePolicy::Open),
        "signed-preferred" => Ok(SignaturePolicy::SignedPreferred),
        "signed-only" => Ok(SignaturePolicy::SignedOnly),
        _ => Err("must be open, signed-preferred or signed-only".to_owned()),
    }
}

impl RegistryArgs {
    /// The limits of a registry on a table.
    ///
    /// # Errors
    ///
    /// As [`RegistryArgs::limits`].
    pub fn table_limits(&self, sources: &Sources) -> Result<Limits, SettingError> {
        let max_archetypes_per_peer = self.max_archetypes_per_peer.unwrap_or(TABLE_ARCHETYPES_PER_PEER);
        Ok(Limits { max_archetypes_per_peer, ..self.limits(sources)? })
    }

    /// The limits of a registry on the embedded store.
    ///
    /// # Errors
    ///
    /// Settings that contradict each other, with the names that `sources` gives them.
    pub fn limits(&self, sources: &Sources) -> Result<Limits, SettingError> {
        let defaults = Limits::default();
        let limits = Limits {
            max_peers: self.max_peers,
            max_peers_per_source: self.max_peers_per_source,
            max_archetypes_per_peer: self.max_archetypes_per_peer.unwrap_or(defaults.max_archetypes_per_peer),
            ttl_default: Ttl::from_secs(self.peer_ttl_minutes.saturating_mul(SECONDS_PER_MINUTE)),
            ttl_min: Ttl::from_secs(self.ttl_min),
            ttl_max: Ttl::from_secs(self.ttl_max),
            revival_window_millis: self.revival_hours.saturating_mul(MILLIS_PER_HOUR),
            heartbeat_interval_max_seconds: self.heartbeat_interval_max,
            heartbeat_interval_min_seconds: self.heartbeat_interval_min,
            discover: DiscoverBounds { default: self.default_limit, ..defaults.discover },
            holder_rule: !self.open_registrations,
            signatures: self.signatures,
            audience: self.audience.clone(),
            ..defaults
        };
        limits
            .check()
            .map_err(|error| SettingError::new(format!("{error}; see {}", self.contradicting(sources))))?;
        Ok(limits)
    }

    /// The settings that can contradict each other: first those of leases, then the heartbeat
    /// intervals.
    fn contradicting(&self, sources: &Sources) -> String {
        let name = |id| sources.name(id);
        // The check reports only its first violation: leases come before heartbeat intervals.
        let leases_agree = self.ttl_min <= self.ttl_max
            && (self.ttl_min..=self.ttl_max)
                .contains(&self.peer_ttl_minutes.saturating_mul(SECONDS_PER_MINUTE));
        if leases_agree {
            format!("{} and {}", name("heartbeat_interval_min"), name("heartbeat_interval_max"))
        } else {
            format!("{}, {} and {}", name("peer_ttl_minutes"), name("ttl_min"), name("ttl_max"))
        }
    }
}

/// Limits that only the embedded store enforces. On a shared table each would need another counter
/// that every registration writes to.
#[derive(Clone, Debug, Args)]
pub struct EmbeddedArgs {
    /// The maximum total size of all registrations.
    #[arg(long, env = "AURORA_MAX_BYTES", default_value_t = Limits::default().max_bytes, value_name = "BYTES", value_parser = value_parser!(u64).range(1..))]
    pub max_bytes: u64,
    /// The maximum number of live peers from one network: an IPv4 /24 or an IPv6 /56.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_NETWORK", default_value_t = Limits::default().max_peers_per_network, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub max_peers_per_network: u32,
    /// The maximum number of live peers from one IPv6 /48.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_SITE", default_value_t = Limits::default().max_peers_per_site, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub max_peers_per_site: u32,
    /// The maximum number of live peers that publish the same address and port without registering
    /// from it; one source takes at most half.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_ADDRESS", default_value_t = Limits::default().max_peers_per_address, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub max_peers_per_address: u32,
    /// The maximum number of live peers that publish the same address, with any port, without
    /// registering from it; one source takes at most half.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_HOST", default_value_t = Limits::default().max_peers_per_host, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub max_peers_per_host: u32,
}

impl EmbeddedArgs {
    /// Copies these settings into `limits`.
    pub fn apply(&self, limits: &mut Limits) {
        limits.max_bytes = self.max_bytes;
        limits.max_peers_per_network = self.max_peers_per_network;
        limits.max_peers_per_site = self.max_peers_per_site;
        limits.max_peers_per_address = self.max_peers_per_address;
        limits.max_peers_per_host = self.max_peers_per_host;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn limits(arguments: &[&str]) -> Result<Limits, String> {
        let (registry, sources) = parse::<RegistryArgs>(arguments).map_err(|error| error.to_string())?;
        registry.limits(&sources).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_settings_are_the_default_limits() {
        assert_eq!(limits(&[]), Ok(Limits::default()));
        let (embedded, _) = parse::<EmbeddedArgs>(&[] as &[&str]).unwrap();
        let mut applied = Limits::default();
        embedded.apply(&mut applied);
        assert_eq!(applied, Limits::default());
    }

    #[test]
    fn every_setting_of_the_embedded_store_sets_its_limit() {
        let (embedded, _) =
            parse::<EmbeddedArgs>(&["--max-bytes=7", "--max-peers-per-address=8", "--max-peers-per-host=9"])
                .unwrap();
        let mut applied = Limits::default();
        embedded.apply(&mut applied);
        let expected =
            Limits { max_bytes: 7, max_peers_per_address: 8, max_peers_per_host: 9, ..Limits::default() };
        assert_eq!(applied, expected);
    }

    #[test]
    fn a_peer_has_at_most_eight_archetypes_on_a_table_unless_set() {
        let on_table = |arguments: &[&str]| {
            let (registry, sources) = parse::<RegistryArgs>(arguments).unwrap();
            registry.table_limits(&sources).unwrap()
        };
        assert_eq!(on_table(&[]), Limits { max_archetypes_per_peer: 8, ..Limits::default() });
        assert_eq!(on_table(&["--max-archetypes-per-peer=32"]), Limits::default());
        assert_eq!(limits(&["--max-archetypes-per-peer=5"]).unwrap().max_archetypes_per_peer, 5);
        assert!(limits(&["--max-archetypes-per-peer=33"]).is_err());
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn the_default_on_a_table_is_that_of_its_store() {
        assert_eq!(TABLE_ARCHETYPES_PER_PEER, aurora_discovery_dynamodb::DEFAULT_MAX_ARCHETYPES_PER_PEER);
    }

    #[test]
    fn zero_switches_the_bound_per_source_off_and_no_other() {
        assert_eq!(limits(&["--max-peers-per-source=0"]).unwrap().max_peers_per_source, 0);
        assert!(limits(&["--max-peers=0"]).is_err());
    }

    #[test]
    fn every_setting_sets_its_limit() {
        let given = limits(&[
            "--peer-ttl-minutes=10",
            "--ttl-min=7",
            "--ttl-max=7000",
            "--revival-hours=1",
            "--heartbeat-interval-max=90",
            "--heartbeat-interval-min=9",
            "--default-limit=8",
            "--max-peers=5",
            "--max-peers-per-source=6",
            "--max-archetypes-per-peer=9",
            "--open-registrations",
            "--signatures=signed-only",
            "--audience=discovery.example",
        ]);
        let defaults = Limits::default();
        let expected = Limits {
            ttl_default: Ttl::from_secs(600),
            ttl_min: Ttl::from_secs(7),
            ttl_max: Ttl::from_secs(7_000),
            revival_window_millis: MILLIS_PER_HOUR,
            heartbeat_interval_max_seconds: 90,
            heartbeat_interval_min_seconds: 9,
            discover: DiscoverBounds { default: 8, ..defaults.discover },
            max_peers: 5,
            max_peers_per_source: 6,
            max_archetypes_per_peer: 9,
            holder_rule: false,
            signatures: SignaturePolicy::SignedOnly,
            audience: Some("discovery.example".to_owned()),
            ..defaults
        };
        assert_eq!(given, Ok(expected));
    }

    #[test]
    fn every_policy_of_signatures_can_be_set() {
        for (name, policy) in
            [("open", SignaturePolicy::Open), ("signed-preferred", SignaturePolicy::SignedPreferred)]
        {
            assert_eq!(limits(&[&format!("--signatures={name}")]).unwrap().signatures, policy);
        }
        let unknown = limits(&["--signatures=none"]).unwrap_err();
        assert!(unknown.contains("must be open, signed-preferred or signed-only"), "{unknown}");
    }

    #[test]
    fn an_error_about_a_contradiction_names_the_settings_and_their_sources() {
        let leases = limits(&["--ttl-min=400"]).unwrap_err();
        assert!(leases.contains("default lease (300 s)"), "{leases}");
        assert!(leases.ends_with("see AURORA_PEER_TTL_MINUTES, --ttl-min and AURORA_TTL_MAX"), "{leases}");
        let intervals = limits(&["--heartbeat-interval-min=300"]).unwrap_err();
        assert!(
            intervals.ends_with("see --heartbeat-interval-min and AURORA_HEARTBEAT_INTERVAL_MAX"),
            "{intervals}"
        );
    }
}
