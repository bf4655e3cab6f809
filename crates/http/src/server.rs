//! Listening, accepting, and stopping.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aurora_registry::{Registry, StoreError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::connection::ConnectionServer;
use crate::exchange::DiscoveryService;
use crate::open_files::OpenFiles;
use crate::options::ServerOptions;
use crate::overflow::Overflow;
use crate::scrape::serve_metrics;
use crate::service::Service;
use crate::sweep::sweep_forever;
use crate::tls::{self, TlsError};

/// How long accepting rests after a failure of the system's, such as no open files left: some
/// connection ends meanwhile.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How many connections may wait to be accepted; the system may cap it. When a network comes back
/// all at once, each one over it would wait a second for its next try.
const BACKLOG: u32 = 4_096;

/// Why a server can't serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// TLS can't be served.
    #[error("can't serve TLS: {0}")]
    Tls(#[from] TlsError),
    /// The store did not close as it should.
    #[error("the store could not be closed: {0}")]
    Close(#[from] StoreError),
}

/// A server that is bound and does not serve yet.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    metrics: Option<(TcpListener, SocketAddr)>,
    tls: Option<tokio_rustls::TlsAcceptor>,
    open_files: OpenFiles,
    options: ServerOptions,
    registry: Arc<Registry>,
}

impl Server {
    /// Binds the listeners and reads the files that serving needs, so that errors in them show
    /// before anything is served.
    ///
    /// # Errors
    /// [`ServeError::Listen`] and [`ServeError::Tls`].
    pub async fn bind(options: ServerOptions, registry: Arc<Registry>) -> Result<Self, ServeError> {
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let (listener, local_addr) = listen(options.listen)?;
        let metrics = options.metrics_listen.map(listen).transpose()?;
        let open_files = OpenFiles::raise(options.max_connections);
        Ok(Self { listener, local_addr, metrics, tls, open_files, options, registry })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where it serves metrics, if it does.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// How many files the system lets it have open.
    pub fn open_files(&self) -> OpenFiles {
        self.open_files
    }

    /// Most connections that it will hold: what was asked for, or less where the system grants
    /// fewer open files.
    pub fn max_connections(&self) -> usize {
        self.open_files.connections(self.options.max_connections)
    }

    /// Serves until `shutdown` is done. Then it accepts nothing more, closes idle connections,
    /// gives requests in flight `shutdown_grace` to finish, and closes the registry.
    ///
    /// # Errors
    /// [`ServeError::Close`] if the registry could not be closed.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let max_connections = self.max_connections();
        let Self { listener, metrics: metrics_listener, tls, options, registry, .. } = self;
        let service = Arc::new(Service::new(registry, options.service.clone()));
        let mut background = JoinSet::new();
        background.spawn(sweep_forever(service.clone()));
        if let Some((listener, _)) = metrics_listener {
            background.spawn(serve_metrics(listener, service.clone()));
        }
        let (stop, stopped) = watch::channel(false);
        let discovery = DiscoveryService::of(service.clone());
        let mut acceptor = Acceptor {
            listener,
            overflow: Overflow::new(service.headers.clone(), tls.is_none()),
            server: Arc::new(ConnectionServer::new(discovery, tls, &options)),
            service: service.clone(),
            max_connections,
            stopped,
            connections: JoinSet::new(),
        };

        acceptor.accept_until(shutdown).await;
        let Acceptor { mut connections, listener, .. } = acceptor;
        drop(listener);
        service.watchers.end();
        // Every connection may be gone already, and none listens then.
        let _ = stop.send(true);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(options.shutdown_grace, all_ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "cut off requests that outlasted the grace of shutdown"
            );
            connections.shutdown().await;
        }
        background.shutdown().await;
        Ok(service.registry.close().await?)
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let refused = |source| ServeError::Listen { address, source };
    let listener = bind(address).map_err(refused)?;
    let local_addr = listener.local_addr().map_err(refused)?;
    Ok((listener, local_addr))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the last connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections, and bounds how many there are.
struct Acceptor {
    listener: TcpListener,
    overflow: Overflow,
    server: Arc<ConnectionServer>,
    service: Arc<Service>,
    max_connections: usize,
    stopped: watch::Receiver<bool>,
    connections: JoinSet<()>,
}

impl Acceptor {
    async fn accept_until(&mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.admit(stream, peer);
                }
                // The client was gone before it was accepted.
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(cause = %error, "connections can't be accepted");
                    }
                    tokio::select! { () = sleep(ACCEPT_REST) => {}, () = &mut shutdown => return }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        while self.connections.try_join_next().is_some() {}
        if self.connections.len() >= self.max_connections {
            self.service.metrics.connections_refused.inc();
            return self.overflow.refuse(stream);
        }
        // A refused option costs latency, not correctness.
        let _ = stream.set_nodelay(true);
        let (server, service, stopped) = (self.server.clone(), self.service.clone(), self.stopped.clone());
        self.connections.spawn(async move {
            let _open = service.metrics.connection_open();
            server.serve(stream, peer.ip(), stopped).await;
        });
    }
}

fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
