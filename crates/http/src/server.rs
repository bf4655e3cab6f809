//! Listens, accepts connections, and shuts down.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_registry::{Registry, StoreError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};

use crate::access::{KeyFile, KeyFileError};
use crate::admission::{Admitted, Connections};
use crate::audit::{AuditError, AuditLog};
use crate::certificate::reload_certificate_forever;
use crate::clock::keep_time;
use crate::connection::ConnectionServer;
use crate::connection::state::ConnectionState;
use crate::exchange::DiscoveryService;
use crate::ice::{IceError, IceServers};
use crate::listener;
use crate::open_files::OpenFiles;
use crate::options::{IceOptions, ServerOptions};
use crate::overflow::Overflow;
use crate::rate::Charge;
use crate::scrape::serve_metrics;
use crate::service::Service;
use crate::shutdown::{Stage, end_connections};
use crate::sweep::sweep_forever;
use crate::tls::{Tls, TlsError};

/// How long the server waits before it tries again after the system failed to accept a connection,
/// for example because the process has no file descriptors left. By then, other connections have
/// probably ended.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The length of the last part of a drain. In this part, Linux ignores new attempts to connect,
/// while attempts that have already begun still complete. The part is longer than the round trip to
/// most clients.
const LAST_CONNECTIONS: Duration = Duration::from_millis(250);

/// How long a shutdown waits at most until the last lines of the audit log are written.
const AUDIT_FLUSH_TIME: Duration = Duration::from_secs(2);

/// Why the server can't serve, or could not close its store.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server can't listen on the address.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The TLS files can't be used.
    #[error("can't serve TLS: {0}")]
    Tls(#[from] TlsError),
    /// The API keys can't be used.
    #[error("can't read the API keys: {0}")]
    Keys(#[from] KeyFileError),
    /// The audit log can't be opened.
    #[error("can't open the audit log: {0}")]
    Audit(#[from] AuditError),
    /// The secret of the TURN servers can't be used.
    #[error("can't read the secret of the TURN servers: {0}")]
    Ice(#[from] IceError),
    /// The store failed to close.
    #[error("the store could not be closed: {0}")]
    Close(#[from] StoreError),
}

/// A server that has bound its sockets but does not serve yet.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    metrics: Option<(TcpListener, SocketAddr)>,
    tls: Option<Arc<Tls>>,
    keys: Option<KeyFile>,
    open_files: OpenFiles,
    options: ServerOptions,
    registry: Arc<Registry>,
}

impl Server {
    /// Binds the listeners, reads the files of TLS, API keys and TURN, and opens the audit log. An
    /// error in any of them is therefore reported before the server starts.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listen`], [`ServeError::Tls`], [`ServeError::Keys`], [`ServeError::Audit`] and
    /// [`ServeError::Ice`].
    pub async fn bind(mut options: ServerOptions, registry: Arc<Registry>) -> Result<Self, ServeError> {
        let tls = options.tls.as_ref().map(Tls::load).transpose()?.map(Arc::new);
        let keys = options.keys.as_deref().map(KeyFile::load).transpose()?;
        if let Some(keys) = &keys {
            options.service.keys = Some(keys.ring().clone());
        }
        if let Some(path) = &options.audit_log {
            options.service.audit = Some(AuditLog::open(path)?);
        }
        if options.ice != IceOptions::default() {
            options.service.ice_servers = IceServers::load(&options.ice)?;
        }
        let write_timeout = options.write_timeout;
        let (listener, local_addr) = listen(options.listen, write_timeout)?;
        let metrics = options.metrics_listen.map(|address| listen(address, write_timeout)).transpose()?;
        let open_files = OpenFiles::raise(options.max_connections);
        Ok(Self { listener, local_addr, metrics, tls, keys, open_files, options, registry })
    }

    /// The address that the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address for metrics, if they are served.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// The certificate and the key, if the server has them. [`Tls::reload`] reads their files
    /// again.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// The API keys, if they are in a file. [`KeyFile::reload`] reads the file again.
    pub fn keys(&self) -> Option<KeyFile> {
        self.keys.clone()
    }

    /// The audit log, if there is one. [`AuditLog::reopen`] opens its file again.
    pub fn audit_log(&self) -> Option<AuditLog> {
        self.options.service.audit.clone()
    }

    /// The number of files that the system lets the server open.
    pub fn open_files(&self) -> OpenFiles {
        self.open_files
    }

    /// The maximum number of connections: the configured number, or less if the system grants fewer
    /// open files.
    pub fn max_connections(&self) -> usize {
        self.open_files.connections(self.options.max_connections)
    }

    /// Serves until `shutdown` completes. Then the server drains for `shutdown_drain`: it still
    /// accepts connections, and its responses ask clients to close theirs. After that it stops
    /// accepting, closes idle connections, gives requests in flight `shutdown_grace` to finish, and
    /// closes the store.
    ///
    /// # Errors
    ///
    /// [`ServeError::Close`] if the store could not be closed.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let max_connections = self.max_connections();
        let Self { listener, metrics: metrics_listener, tls, options, registry, .. } = self;
        let service = Arc::new(Service::new(registry, options.service.clone()));
        let mut background = JoinSet::new();
        background.spawn(keep_time(options.service.clock.clone(), service.registry.clone()));
        background.spawn(sweep_forever(service.clone()));
        if let Some((listener, _)) = metrics_listener {
            background.spawn(serve_metrics(listener, service.clone(), tls.clone()));
        }
        if let Some(tls) = &tls {
            background.spawn(reload_certificate_forever(tls.clone()));
        }
        let discovery = DiscoveryService::of(service.clone());
        let mut acceptor = Acceptor {
            overflow: Overflow::new(service.headers.clone(), tls.is_none()),
            server: Arc::new(ConnectionServer::new(discovery, tls, &options)),
            service: service.clone(),
            open: Connections::new(max_connections, options.trusted_hops > 0),
            shared_sources: options.trusted_hops > 0,
            connections: JoinSet::new(),
        };

        acceptor.accept_until(&listener, shutdown).await;
        let connections = acceptor.drain(listener, options.shutdown_drain).await;
        // Event streams do not end by themselves, and would delay the shutdown by the whole grace
        // period.
        service.watchers.end();
        service.shutdown.enter(Stage::Stopping);
        end_connections(connections, &service, options.shutdown_grace).await;
        // The sweep must not use the store after it is closed.
        background.shutdown().await;
        if let Some(audit) = options.service.audit {
            // An error means that the runtime shuts down.
            if !spawn_blocking(move || audit.flush(AUDIT_FLUSH_TIME)).await.unwrap_or(false) {
                tracing::warn!("the last lines of the audit log may be lost");
            }
        }
        Ok(service.registry.store().close().await?)
    }
}

fn listen(address: SocketAddr, write_timeout: Duration) -> Result<(TcpListener, SocketAddr), ServeError> {
    listener::bind(address, write_timeout).map_err(|source| ServeError::Listen { address, source })
}

/// Accepts connections up to a limit.
struct Acceptor {
    overflow: Overflow,
    server: Arc<ConnectionServer>,
    service: Arc<Service>,
    open: Arc<Connections>,
    /// Whether connections come from the operator's proxies. A proxy forwards the requests of many
    /// clients, so the rate of its connections is not limited.
    shared_sources: bool,
    connections: JoinSet<()>,
}

/// When a connection ends, charges its source for work that the connection caused without a request
/// that reached the service. As a guard, it also does so if the connection's task is aborted to
/// make room for another connection.
struct WasteGuard {
    service: Arc<Service>,
    state: Arc<ConnectionState>,
    source: IpAddr,
}

impl Drop for WasteGuard {
    fn drop(&mut self) {
        self.service.rates.charge(Charge::Connections, self.source, self.state.waste());
    }
}

impl Acceptor {
    async fn accept_until(&mut self, listener: &TcpListener, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        // A failure that persists is logged once, not at each attempt.
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut shutdown => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.admit(stream, peer);
                }
                // The client disconnected before the connection was accepted.
                Err(error) if is_client_error(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(cause = %error, "can't accept connections");
                    }
                    tokio::select! { () = sleep(ACCEPT_RETRY) => {}, () = &mut shutdown => return }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        // Removes the tasks of connections that have ended.
        while self.connections.try_join_next().is_some() {}
        if !self.shared_sources && self.service.rates.take(Charge::Connections, peer.ip(), 1).is_err() {
            // The connection is closed without a response. Sending one would cost as much as
            // serving the connection.
            self.service.metrics.connections_refused.inc();
            return;
        }
        let state = self.server.new_state();
        let Some(Admitted { guard, id, displaced }) = self.open.admit(peer.ip(), state.clone()) else {
            self.service.metrics.connections_refused.inc();
            return self.overflow.refuse(stream);
        };
        if displaced {
            self.service.metrics.connections_displaced.inc();
        }
        // Without this option, latency is higher, but nothing breaks.
        let _ = stream.set_nodelay(true);
        let (server, service) = (self.server.clone(), self.service.clone());
        let stages = service.shutdown.subscribe();
        let waste = (!self.shared_sources).then(|| WasteGuard {
            service: service.clone(),
            state: state.clone(),
            source: peer.ip(),
        });
        let task = self.connections.spawn(async move {
            let (_guard, _open, _waste) = (guard, service.metrics.connection_open(), waste);
            server.serve(stream, peer.ip(), state, stages).await;
        });
        self.open.started(id, task);
    }

    /// Asks clients to close their connections, still accepts connections for `time`, and then
    /// closes the listener. Returns the connections that are open.
    async fn drain(mut self, listener: TcpListener, time: Duration) -> JoinSet<()> {
        self.service.shutdown.enter(Stage::Draining);
        tracing::info!(
            connections = self.connections.len(),
            seconds = time.as_secs_f64(),
            "draining: /readyz returns 503, and responses close their connections"
        );
        let end = Instant::now() + time;
        self.accept_until(&listener, sleep_until(end - time.min(LAST_CONNECTIONS))).await;
        listener::ignore_new_connections(&listener);
        self.accept_until(&listener, sleep_until(end)).await;
        listener::close(listener).into_iter().for_each(|(stream, peer)| self.admit(stream, peer));
        self.connections
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
