//! The settings of `serve`. Each is declared here, once: as flag, as environment variable and as key of the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use aurora_http::{ServerOptions, ServiceOptions};
use aurora_registry::Limits;
use clap::{Args, ValueEnum, value_parser};

/// Settings of `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Read settings from this TOML file, under the names of the flags.
    #[arg(long, env = "AURORA_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where to serve; port 0 takes a free one.
    #[arg(long, env = "AURORA_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
    /// What keeps the registry: this process, or a DynamoDB table that any number of processes share.
    #[arg(long, env = "AURORA_STORE", default_value = "embedded", value_name = "STORE")]
    pub(crate) store: StoreKind,
    /// The table of --store dynamodb.
    #[arg(long, env = "AURORA_TABLE", value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Where DynamoDB is, if not where AWS has it.
    #[arg(long, env = "AURORA_DYNAMODB_ENDPOINT", value_name = "URL")]
    pub(crate) dynamodb_endpoint: Option<String>,
    /// Where to keep the registry; left out: `aurora-discovery` in the user's data directory.
    #[arg(long, env = "AURORA_DATA", value_name = "DIRECTORY")]
    pub(crate) data: Option<PathBuf>,
    /// Keep the registry in memory only: it ends with the process.
    #[arg(long, env = "AURORA_MEMORY")]
    pub(crate) memory: bool,
    /// Start although records in the middle of the journal are damaged, without them.
    #[arg(long, env = "AURORA_DROP_DAMAGED")]
    pub(crate) drop_damaged: bool,

    /// The lease of a peer that asks for none, in minutes.
    #[arg(long, env = "AURORA_PEER_TTL_MINUTES", default_value_t = Limits::default().ttl_default.as_secs() / SECONDS_PER_MINUTE, value_name = "MINUTES", value_parser = value_parser!(u32).range(1..=1_440))]
    pub(crate) peer_ttl_minutes: u32,
    /// The shortest lease that a peer may ask for.
    #[arg(long, env = "AURORA_TTL_MIN", default_value_t = Limits::default().ttl_min.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) ttl_min: u32,
    /// The longest lease that a peer may ask for.
    #[arg(long, env = "AURORA_TTL_MAX", default_value_t = Limits::default().ttl_max.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) ttl_max: u32,
    /// How long a heartbeat still revives a peer whose lease has ended.
    #[arg(long, env = "AURORA_REVIVAL_HOURS", default_value_t = Limits::default().revival_window_millis / MILLIS_PER_HOUR, value_name = "HOURS", value_parser = value_parser!(u64).range(0..=8_760))]
    pub(crate) revival_hours: u64,
    /// The longest interval of heartbeats that peers are asked for.
    #[arg(long, env = "AURORA_HEARTBEAT_INTERVAL_MAX", default_value_t = Limits::default().heartbeat_interval_max_seconds, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) heartbeat_interval_max: u32,
    /// The shortest interval of heartbeats that jitter may make of it.
    #[arg(long, env = "AURORA_HEARTBEAT_INTERVAL_MIN", default_value_t = Limits::default().heartbeat_interval_min_seconds, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86_400))]
    pub(crate) heartbeat_interval_min: u32,
    /// How many peers a discover lists that names no limit.
    #[arg(long, env = "AURORA_DEFAULT_LIMIT", default_value_t = Limits::default().discover.default, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=1_000))]
    pub(crate) default_limit: u32,

    /// Most peers, live and dormant; newcomers are refused beyond.
    #[arg(long, env = "AURORA_MAX_PEERS", default_value_t = Limits::default().max_peers, value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    pub(crate) max_peers: u64,
    /// Most bytes of all registrations together.
    #[arg(long, env = "AURORA_MAX_BYTES", default_value_t = Limits::default().max_bytes, value_name = "BYTES", value_parser = value_parser!(u64).range(1..))]
    pub(crate) max_bytes: u64,
    /// Most live peers from one source: an IPv4 address, or a /64 of IPv6.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_SOURCE", default_value_t = Limits::default().max_peers_per_source, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_peers_per_source: u32,
    /// Most live peers that publish one address and port that they did not come from.
    #[arg(long, env = "AURORA_MAX_PEERS_PER_ADDRESS", default_value_t = Limits::default().max_peers_per_address, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_peers_per_address: u32,
    /// Let anybody replace or deregister a live peer, not its holder only.
    #[arg(long, env = "AURORA_OPEN_REGISTRATIONS")]
    pub(crate) open_registrations: bool,

    /// Leave out the headers that let browsers call from other origins.
    #[arg(long, env = "AURORA_NO_CORS")]
    pub(crate) no_cors: bool,
    /// How many proxies stand in front and add the address they saw to `X-Forwarded-For`.
    #[arg(long, env = "AURORA_TRUSTED_HOPS", default_value_t = 0, value_name = "COUNT", value_parser = value_parser!(u8).range(0..=16))]
    pub(crate) trusted_hops: u8,
    /// Where to serve Prometheus metrics; left out: nowhere.
    #[arg(long, env = "AURORA_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// The certificate chain to serve HTTPS with, in PEM; needs --tls-key.
    #[arg(long, env = "AURORA_TLS_CERT", value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM; needs --tls-cert.
    #[arg(long, env = "AURORA_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Most connections that are open at once; lowered where the system grants fewer open files.
    #[arg(long, env = "AURORA_MAX_CONNECTIONS", default_value_t = count(ServerOptions::default().max_connections), value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// Most requests that are answered at once; others are told to come back.
    #[arg(long, env = "AURORA_MAX_IN_FLIGHT", default_value_t = count(ServiceOptions::default().max_in_flight), value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_in_flight: u32,
    /// Most streams of /watch at once, an eighth of them from one address; others are told to come back.
    #[arg(long, env = "AURORA_MAX_WATCHERS", default_value_t = count(ServiceOptions::default().max_watchers), value_name = "COUNT", value_parser = value_parser!(u32))]
    pub(crate) max_watchers: u32,
    /// How long a client may take to connect and to send a request's head.
    #[arg(long, env = "AURORA_HEADER_TIMEOUT", default_value_t = ServerOptions::default().header_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MOST_SECONDS))]
    pub(crate) header_timeout: u64,
    /// How long a client may take to send a request's body.
    #[arg(long, env = "AURORA_BODY_TIMEOUT", default_value_t = ServerOptions::default().body_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MOST_SECONDS))]
    pub(crate) body_timeout: u64,
    /// How long a connection is kept without a request.
    #[arg(long, env = "AURORA_IDLE_TIMEOUT", default_value_t = ServerOptions::default().idle_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MOST_SECONDS))]
    pub(crate) idle_timeout: u64,
    /// How long a client may take to read what waits for it.
    #[arg(long, env = "AURORA_WRITE_TIMEOUT", default_value_t = ServerOptions::default().write_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MOST_SECONDS))]
    pub(crate) write_timeout: u64,
    /// How long an answer may take before it becomes a 503.
    #[arg(long, env = "AURORA_REQUEST_TIMEOUT", default_value_t = ServiceOptions::default().request_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MOST_SECONDS))]
    pub(crate) request_timeout: u64,
    /// How long requests may still take once the service is told to stop.
    #[arg(long, env = "AURORA_SHUTDOWN_GRACE", default_value_t = ServerOptions::default().shutdown_grace.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(0..=MOST_SECONDS))]
    pub(crate) shutdown_grace: u64,

    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as `info,aurora_http=debug`.
    #[arg(long, env = "AURORA_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
    /// How it is logged, on standard error; auto: text on a terminal, JSON otherwise.
    #[arg(long, env = "AURORA_LOG_FORMAT", default_value = "auto", value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Log successful requests too.
    #[arg(long, env = "AURORA_LOG_REQUESTS")]
    pub(crate) log_requests: bool,
}

pub(super) const MILLIS_PER_HOUR: u64 = 3_600_000;
pub(super) const SECONDS_PER_MINUTE: u32 = 60;
/// The longest time-out that makes sense: a day.
const MOST_SECONDS: u64 = 86_400;

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What keeps the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StoreKind {
    /// This process, in memory and on its disk.
    Embedded,
    /// A DynamoDB table.
    Dynamodb,
}

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
