//! What an operator may set, with the reason for each default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;

/// Settings of the service, whatever transport it is behind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceOptions {
    /// The time that leases live by.
    pub clock: Clock,
    /// Whether scripts on other pages may read the responses.
    pub cors: bool,
    /// Most requests that are handled at once; others get 503. Each holds a body of up to 16 KiB,
    /// and what waits this long behind a disk is better tried again.
    pub max_in_flight: usize,
    /// How long a handler may take before its response becomes a 503: longer than any disk's
    /// hiccup, shorter than clients wait.
    pub request_timeout: Duration,
    /// One in this many requests is logged, beside those that fail; 0: none, because a line costs
    /// more than a heartbeat.
    pub log_one_in: u32,
    /// Most streams of `/watch` at once, an eighth of them from one source; others get 503. Each
    /// holds its connection for as long as its client likes, so that half of
    /// [`max_connections`](ServerOptions::max_connections) is left for other requests.
    pub max_watchers: usize,
    /// How often a stream without news sends a comment: proxies close what is silent for half a
    /// minute.
    pub watch_keep_alive: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            cors: true,
            max_in_flight: 4_096,
            request_timeout: Duration::from_secs(10),
            log_one_in: 0,
            max_watchers: 10_000,
            watch_keep_alive: Duration::from_secs(15),
        }
    }
}

/// Settings of the server: the service, and the sockets it is served on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The service that is served.
    pub service: ServiceOptions,
    /// Where to listen; loopback by default, because a registry that anybody can fill is a choice.
    pub listen: SocketAddr,
    /// Where to serve metrics, on a listener of its own so that they are never public by accident;
    /// `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The certificate and key to serve with; `None`: without TLS.
    pub tls: Option<TlsFiles>,
    /// How many proxies of the operator's stand in front, each of which appends to
    /// `X-Forwarded-For`. With 0, that header is the client's own claim and ignored.
    pub trusted_hops: usize,
    /// Most connections that are open at once; others get 503 and are closed. Each takes a file and
    /// about 30 KiB. It is lowered where the system grants fewer open files.
    pub max_connections: usize,
    /// How long a client may take to open a connection, TLS included, and to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body: 16 KiB in this time is slower than any
    /// modem.
    pub body_timeout: Duration,
    /// How long a connection is kept without a request: legacy clients send a heartbeat each 30 s,
    /// and so keep theirs.
    pub idle_timeout: Duration,
    /// How long a client may take to read what waits for it: a page of a megabyte over a slow
    /// mobile network.
    pub write_timeout: Duration,
    /// How long requests in flight may still take once the server is told to stop.
    pub shutdown_grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            service: ServiceOptions::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            metrics_listen: None,
            tls: None,
            trusted_hops: 0,
            max_connections: 20_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            shutdown_grace: Duration::from_secs(10),
        }
    }
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by its chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
