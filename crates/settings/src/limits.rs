//! Leases, and the limits of a registry.

use aurora_discovery_protocol::{DiscoverBounds, Order, Ttl};
use aurora_discovery_registry::{AddressPolicy, Limits, SignaturePolicy};
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, value_parser};

use crate::{SettingError, Sources};

const SECONDS_PER_MINUTE: u32 = 60;
const MILLIS_PER_HOUR: u64 = 3_600_000;
/// The default of `max_archetypes_per_peer` on a table. Each archetype costs two write units per
/// registration there, and a stranger who registers as fast as the throttle allows must not cause a
/// large bill.
const TABLE_ARCHETYPES_PER_PEER: u32 = 8;
/// The default of `max_page_bytes` on a table, for the same reason. A page of this size has about
/// 580 peers of legacy clients.
const TABLE_PAGE_BYTES: u32 = 128 * BYTES_PER_READ_UNIT;
/// A page on a table may cost one read unit for each piece of this many bytes. The traffic of such
/// a piece costs about as much as a read unit.
const BYTES_PER_READ_UNIT: u32 = 1_024;
/// The API promises clients that no page is larger than this.
const MAX_PAGE_BYTES: i64 = 1 << 20;

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
    /// The order of a discover response if the request has none: a uniform sample, or one of which
    /// half comes from different networks.
    #[arg(long, env = "AURORA_DEFAULT_ORDER", default_value_t = Limits::default().discover.order, value_name = "ORDER", value_parser = PossibleValuesParser::new(["sample", "diverse"]).try_map(|order| order.parse::<Order>()))]
    pub default_order: Order,
    /// The maximum number of peers; further newcomers are rejected. On DynamoDB, dormant peers do not
    /// count.
    #[arg(long, env = "AURORA_MAX_PEERS", default_value_t = Limits::default().max_peers, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    pub max_peers: u64,
    /// The maximum number of live peers from one source: an IPv4 address or an IPv6 /64; 0 means no
    /// maximum.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_SOURCE", default_value_t = Limits::default().max_peers_per_source, value_name = "COUNT", value_parser = value_parser!(u32))]
    pub max_peers_per_source: u32,
    /// The maximum number of archetypes of one peer; by default 32, and 8 on a DynamoDB table.
    #[arg(long, env = "AURORA_MAX_ARCHETYPES_PER_PEER", value_name = "COUNT", value_parser = value_parser!(u32).range(0..=32))]
    pub max_archetypes_per_peer: Option<u32>,
    /// The addresses that peers may publish: any; only public ones, which hosts in other networks
    /// can reach; or only the address that a registration came from, whatever it publishes.
    #[arg(long, env = "AURORA_ADDRESSES", default_value_t = Limits::default().addresses, value_name = "POLICY", value_parser = PossibleValuesParser::new(AddressPolicy::ALL.map(|policy| policy.to_string())).try_map(|policy| policy.parse::<AddressPolicy>()))]
    pub addresses: AddressPolicy,
    /// The maximum size of a page of peers; by default 1 MiB, and 128 KiB on a DynamoDB table,
    /// where a page also costs at most one read unit for each KiB.
    #[arg(long, env = "AURORA_MAX_PAGE_BYTES", value_name = "BYTES", value_parser = value_parser!(u32).range(16_384..=MAX_PAGE_BYTES))]
    pub max_page_bytes: Option<u32>,
    /// Allow any client, not only the holder, to replace or deregister a live peer.
    #[arg(long, env = "AURORA_OPEN_REGISTRATIONS")]
    pub open_registrations: bool,
    /// What signed registrations mean: `open` ignores signatures, `signed-preferred` locks a name
    /// to the key that signs it, `signed-only` also refuses registrations without a signature.
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
        let page_bytes = self.max_page_bytes.unwrap_or(TABLE_PAGE_BYTES);
        let page_read_units = Some(page_bytes.div_ceil(BYTES_PER_READ_UNIT));
        let page_bytes = usize::try_from(page_bytes).unwrap_or(usize::MAX);
        Ok(Limits { max_archetypes_per_peer, page_bytes, page_read_units, ..self.limits(sources)? })
    }

    /// The limits of a registry on the embedded store or on a Valkey server.
    /// [`EmbeddedArgs::apply`] sets those that are not among these settings.
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
            page_bytes: self
                .max_page_bytes
                .map_or(defaults.page_bytes, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            discover: DiscoverBounds {
                default: self.default_limit,
                order: self.default_order,
                ..defaults.discover
            },
            inline_discover: DiscoverBounds { order: self.default_order, ..defaults.inline_discover },
            addresses: self.addresses,
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

    /// The names of the settings that contradict each other: those of leases, or the heartbeat
    /// intervals.
    fn contradicting(&self, sources: &Sources) -> String {
        let name = |id| sources.name(id);
        // `Limits::check` reports only the first violation, and it checks leases before heartbeat
        // intervals.
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

/// Limits that the embedded store and Valkey enforce, but DynamoDB does not: on a table, each would
/// need another counter that every registration writes to.
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

    fn on_table(arguments: &[&str]) -> Limits {
        let (registry, sources) = parse::<RegistryArgs>(arguments).unwrap();
        registry.table_limits(&sources).unwrap()
    }

    #[test]
    fn a_page_on_a_table_has_128_kib_and_costs_128_read_units_at_most_unless_set() {
        let expected = Limits {
            max_archetypes_per_peer: 8,
            page_bytes: 131_072,
            page_read_units: Some(128),
            ..Limits::default()
        };
        assert_eq!(on_table(&[]), expected);
        let set = on_table(&["--max-page-bytes=1048576"]);
        assert_eq!((set.page_bytes, set.page_read_units), (1 << 20, Some(1_024)));
        assert_eq!(limits(&["--max-page-bytes=65536"]).unwrap().page_bytes, 65_536);
        assert!(limits(&["--max-page-bytes=1048577"]).is_err(), "more than the API promises");
    }

    #[test]
    fn a_peer_has_at_most_eight_archetypes_on_a_table_unless_set() {
        assert_eq!(on_table(&[]).max_archetypes_per_peer, 8);
        assert_eq!(on_table(&["--max-archetypes-per-peer=32"]).max_archetypes_per_peer, 32);
        assert_eq!(limits(&["--max-archetypes-per-peer=5"]).unwrap().max_archetypes_per_peer, 5);
        assert!(limits(&["--max-archetypes-per-peer=33"]).is_err());
    }

    #[cfg(feature = "dynamodb")]
    #[test]
    fn the_default_on_a_table_is_that_of_its_store() {
        assert_eq!(TABLE_ARCHETYPES_PER_PEER, aurora_discovery_dynamodb::DEFAULT_MAX_ARCHETYPES_PER_PEER);
    }

    #[test]
    fn an_enumeration_cannot_be_the_default_order() {
        assert!(limits(&["--default-order=all"]).unwrap_err().contains("sample, diverse"));
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
            "--default-order=diverse",
            "--max-peers=5",
            "--max-peers-per-source=6",
            "--max-archetypes-per-peer=9",
            "--addresses=public",
            "--max-page-bytes=20000",
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
            discover: DiscoverBounds { default: 8, order: Order::Diverse, ..defaults.discover },
            inline_discover: DiscoverBounds { order: Order::Diverse, ..defaults.inline_discover },
            max_peers: 5,
            max_peers_per_source: 6,
            max_archetypes_per_peer: 9,
            addresses: AddressPolicy::Public,
            page_bytes: 20_000,
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
