//! The options that an operator can set, with the reason for each default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::access::{KeyRing, Scopes};
use crate::audit::AuditLog;
use crate::clock::Clock;
use crate::ice::IceServers;
use crate::rate::RateLimits;

/// Options of the service, independent of the transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// The clock that leases depend on.
    pub clock: Clock,
    /// A prefix of paths, such as `/dev`. A path reaches the same route with the prefix and without
    /// it. `None` if there is no prefix.
    pub base_path: Option<String>,
    /// Whether scripts of other origins may read the responses (CORS).
    pub cors: bool,
    /// Whether browsers get a page with a view of the network at `/`. `false` by default, for
    /// transports that forward only the paths of the API.
    pub page: bool,
    /// The API keys that requests may present. `None` if there are none.
    pub keys: Option<KeyRing>,
    /// The log of registrations, refusals, removals and actions of operators. `None` if there is
    /// none.
    pub audit: Option<AuditLog>,
    /// The scopes that a request needs a key for. Requests of operators (`admin`) always need one.
    pub require_key: Scopes,
    /// The maximum number of requests that are handled at once; others get 503. Each holds a body
    /// of up to 16 KiB. If this many requests wait for a slow disk, a further request is better
    /// refused, so that its client tries again later.
    pub max_in_flight: usize,
    /// How long a handler may take before its response becomes a 503. The default is longer than a
    /// short stall of a disk, and shorter than the time for which clients repeat a request.
    pub request_timeout: Duration,
    /// One in this many successful requests is logged, in addition to the failed requests. (Most
    /// kinds of failures are logged only up to a limit per second.) With 0, the default, no
    /// successful request is logged, because a line takes more processor time than handling a
    /// heartbeat.
    pub log_one_in: u32,
    /// The rates of each source; requests beyond them get 429. `None` by default, for transports
    /// whose callers are throttled before they reach the service, as by API Gateway.
    pub rate_limits: Option<RateLimits>,
    /// The maximum number of open `/watch` streams and of requests that wait for mail; others get
    /// 503. One source may have at most about a ninth. Each occupies its connection for as long
    /// as its client likes. The default leaves half of
    /// [`max_connections`](ServerOptions::max_connections) for other requests.
    pub max_watchers: usize,
    /// The maximum number of bytes per second of all `/watch` streams together. A limit is needed
    /// because each change is sent once to each watcher. If it is reached, streams that fall behind
    /// are ended, and their clients reconnect later. With 0, there is no limit. The default is a
    /// fifth of the rate that made heartbeats slow on two cores. It is enough for 10,000 watchers
    /// of a network with two changes a second, or for 30 watchers of all changes among a million
    /// peers.
    pub watch_bytes_per_second: u32,
    /// How often a stream without changes sends a comment. Some proxies close connections that are
    /// silent for half a minute.
    pub watch_keep_alive: Duration,
    /// How long a request to `/mailbox` may wait for a message at most. With 0, no request waits.
    /// That is the right value where each second of a request costs money, as on AWS Lambda.
    pub max_mail_wait: Duration,
    /// The STUN and TURN servers that responses name to peers with a mailbox.
    pub ice_servers: IceServers,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            base_path: None,
            cors: true,
            page: false,
            keys: None,
            audit: None,
            require_key: Scopes::default(),
            max_in_flight: 4_096,
            request_timeout: Duration::from_secs(10),
            log_one_in: 0,
            rate_limits: None,
            max_watchers: 10_000,
            watch_bytes_per_second: 8 << 20,
            watch_keep_alive: Duration::from_secs(15),
            max_mail_wait: Duration::from_secs(25),
            ice_servers: IceServers::default(),
        }
    }
}

/// Options of the server: the service, and the sockets that it uses.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The options of the service. By default, a server serves the web page and limits the rates of
    /// each source, in contrast to the default of `ServiceOptions`.
    pub service: ServiceOptions,
    /// The address to listen on. The default is loopback, because an operator should choose to run
    /// a registry that anyone can fill.
    pub listen: SocketAddr,
    /// The address for metrics. It is a separate listener, so that metrics are never public by
    /// accident. `None` disables it.
    pub metrics_listen: Option<SocketAddr>,
    /// The file with the API keys. If there is one, its keys replace `service.keys`.
    pub keys: Option<PathBuf>,
    /// The file of the audit log, or `-` for standard output. If it is set, this log replaces
    /// `service.audit`.
    pub audit_log: Option<PathBuf>,
    /// The STUN and TURN servers. If there are any, they replace `service.ice_servers`.
    pub ice: IceOptions,
    /// The certificate and key for TLS; `None` disables TLS.
    pub tls: Option<TlsFiles>,
    /// The number of the operator's own proxies in front of the service, each of which appends to
    /// `X-Forwarded-For`. With 0 the header is ignored, because the client can put anything there.
    pub trusted_hops: usize,
    /// The maximum number of open connections. A further connection replaces one that waits for its
    /// client. If there is none to replace, the further connection is closed; without TLS, its
    /// client usually gets a 503 first. Each connection takes a file descriptor and about 30 KiB.
    /// The number is lowered if the system grants fewer open files.
    pub max_connections: usize,
    /// How long a client may take for the TLS handshake and the head of its first request together.
    /// On HTTP/1, it is also the time limit for each later head, from its first byte.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body. By default, even a modem can send the
    /// maximum of 16 KiB in this time.
    pub body_timeout: Duration,
    /// How long a connection without requests is kept. Legacy clients send a heartbeat every 30 s,
    /// so their connections stay open.
    pub idle_timeout: Duration,
    /// While a response is being sent, a client must read 4 kB per second, averaged over this time.
    /// With the default, it must read 120 kB every 30 s. If it reads less, its connection is
    /// closed. On HTTP/2, usually only the response is reset. Even a slow mobile network is eight
    /// times as fast.
    pub write_timeout: Duration,
    /// How long the server still accepts and responds after it was asked to stop. In this time, it
    /// asks clients to close their connections: on HTTP/1 with each response, on HTTP/2 with
    /// GOAWAY. A client that sends a request on each of its connections at least this often
    /// therefore loses no request. A load balancer that checks `/readyz` at least this often stops
    /// sending requests in time.
    pub shutdown_drain: Duration,
    /// How long requests in flight may take after the drain. Together, the defaults of the drain
    /// and of this time are shorter than the ten seconds after which Docker kills a container.
    pub shutdown_grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            service: ServiceOptions {
                page: true,
                rate_limits: Some(RateLimits::default()),
                ..ServiceOptions::default()
            },
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            metrics_listen: None,
            keys: None,
            audit_log: None,
            ice: IceOptions::default(),
            tls: None,
            trusted_hops: 0,
            max_connections: 20_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            shutdown_drain: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(8),
        }
    }
}

/// The servers with which peers find a path to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceOptions {
    /// The URLs of STUN servers.
    pub stun: Vec<String>,
    /// The URLs of TURN servers.
    pub turn: Vec<String>,
    /// The file with the secret that this service shares with the TURN servers. Both derive the
    /// passwords of peers from it.
    pub turn_secret: Option<PathBuf>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by its chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}
