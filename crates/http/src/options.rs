//! What an operator may set about serving, with the reason for each default.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;

pub(crate) const MAX_IN_FLIGHT: usize = 4_096;
pub(crate) const MAX_WATCHERS: usize = 10_000;
pub(crate) const WATCH_KEEP_ALIVE: Duration = Duration::from_secs(15);
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How to serve.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServeOptions {
    /// Where to listen; loopback unless told otherwise, because a registry that anybody can fill is a choice.
    pub listen: SocketAddr,
    /// Where to tell metrics, on a listener of its own so that they are never public by accident; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// The certificate and key to serve with; `None`: without TLS.
    pub tls: Option<TlsFiles>,
    /// How many proxies of the operator's stand in front, each of which appends to `X-Forwarded-For`. With 0, that header is
    /// what the caller claims and counts for nothing.
    pub trusted_hops: usize,
    /// Whether browsers on other pages may read the answers.
    pub cors: bool,
    /// Most connections that are open at once; others get 503 and are closed. Each takes a file and about 30 KiB. It is lowered
    /// where the system grants fewer open files.
    pub max_connections: usize,
    /// Most requests that are answered at once; others get 503. Each holds a body of up to 16 KiB, and what waits this long
    /// behind a disk is better tried again.
    pub max_in_flight: usize,
    /// How long a client may take to open a connection, TLS included, and to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body: 16 KiB in this time is slower than any modem.
    pub body_timeout: Duration,
    /// How long a connection is kept without a request: heartbeats come every 30 s from today's peers, which so keep theirs.
    pub idle_timeout: Duration,
    /// How long a client may take to read what waits for it: a page of a megabyte over a slow mobile network.
    pub write_timeout: Duration,
    /// How long an answer may take before it becomes a 503: longer than any disk's hiccup, shorter than clients wait.
    pub request_timeout: Duration,
    /// Most streams of `/watch` at once, an eighth of them from one source; others get 503. Each holds its connection for as long as its client likes, so that half of
    /// `max_connections` is left for those who only ask.
    pub max_watchers: usize,
    /// How often a stream that has nothing to tell says that it lives: proxies close what is silent for half a minute.
    pub watch_keep_alive: Duration,
    /// How long requests in flight may still take once the service is told to stop.
    pub shutdown_grace: Duration,
    /// Whether each request is logged, not only what fails: a line costs more than a heartbeat.
    pub log_requests: bool,
    /// The time that leases live by.
    pub clock: Clock,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            metrics_listen: None,
            tls: None,
            trusted_hops: 0,
            cors: true,
            max_connections: 20_000,
            max_in_flight: MAX_IN_FLIGHT,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            request_timeout: REQUEST_TIMEOUT,
            max_watchers: MAX_WATCHERS,
            watch_keep_alive: WATCH_KEEP_ALIVE,
            shutdown_grace: Duration::from_secs(10),
            log_requests: false,
            clock: Clock::default(),
        }
    }
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
