//! From the settings to what the libraries take.

use std::path::PathBuf;
use std::time::Duration;

use aurora_http::{ServerOptions, TlsFiles};
use aurora_protocol::{DiscoverBounds, Ttl};
use aurora_registry::Limits;

use super::args::{MILLIS_PER_HOUR, SECONDS_PER_MINUTE, ServeArgs};
use super::data::default_directory;
use crate::failure::Failure;

impl ServeArgs {
    /// The bounds of the registry.
    pub(super) fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            max_peers: self.max_peers,
            max_bytes: self.max_bytes,
            max_peers_per_source: self.max_peers_per_source,
            max_peers_per_address: self.max_peers_per_address,
            ttl_default: Ttl::from_secs(self.peer_ttl_minutes.saturating_mul(SECONDS_PER_MINUTE)),
            ttl_min: Ttl::from_secs(self.ttl_min),
            ttl_max: Ttl::from_secs(self.ttl_max),
            revival_window_millis: self.revival_hours.saturating_mul(MILLIS_PER_HOUR),
            heartbeat_interval_max_seconds: self.heartbeat_interval_max,
            heartbeat_interval_min_seconds: self.heartbeat_interval_min,
            discover: DiscoverBounds { default: self.default_limit, ..defaults.discover },
            holder_rule: !self.open_registrations,
            ..defaults
        }
    }

    /// How to serve.
    pub(super) fn serve_options(&self) -> Result<ServerOptions, Failure> {
        let mut options = ServerOptions::default();
        options.listen = self.listen;
        options.metrics_listen = self.metrics_listen;
        options.tls = self.tls()?;
        options.trusted_hops = self.trusted_hops.into();
        options.service.cors = !self.no_cors;
        options.max_connections = usize::try_from(self.max_connections).unwrap_or(usize::MAX);
        options.service.max_in_flight = usize::try_from(self.max_in_flight).unwrap_or(usize::MAX);
        options.service.max_watchers = usize::try_from(self.max_watchers).unwrap_or(usize::MAX);
        options.header_timeout = Duration::from_secs(self.header_timeout);
        options.body_timeout = Duration::from_secs(self.body_timeout);
        options.idle_timeout = Duration::from_secs(self.idle_timeout);
        options.write_timeout = Duration::from_secs(self.write_timeout);
        options.service.request_timeout = Duration::from_secs(self.request_timeout);
        options.shutdown_grace = Duration::from_secs(self.shutdown_grace);
        options.service.log_one_in = self.log_requests.into();
        Ok(options)
    }

    /// Where the registry is kept; `None`: in memory.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        (!self.memory).then(|| self.data.clone().unwrap_or_else(default_directory))
    }

    fn tls(&self) -> Result<Option<TlsFiles>, Failure> {
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(Failure::flag("--tls-cert", "needs --tls-key, the certificate's private key"))
            }
            (None, Some(_)) => {
                Err(Failure::flag("--tls-key", "needs --tls-cert, the certificate of that key"))
            }
        }
    }
}
