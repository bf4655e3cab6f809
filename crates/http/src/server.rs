//! Listens, accepts connections, and shuts down.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_registry::{Registry, StoreError};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admission::{Admitted, Connections};
use crate::clock::keep_time;
use crate::connection::ConnectionServer;
use crate::exchange::DiscoveryService;
use crate::open_files::OpenFiles;
use crate::options::ServerOptions;
use crate::overflow::Overflow;
use crate::scrape::serve_metrics;
use crate::service::Service;
use crate::sweep::sweep_forever;
use crate::tls::{self, TlsError};

/// How long to wait after the system failed to accept, for example because no open files are left.
/// Some connections end in the meantime.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The length of the queue of connections that wait to be accepted; the system may cap it. When all
/// clients of a network reconnect at once, each connection beyond the queue waits a second for its
/// next attempt.
const BACKLOG: u32 = 4_096;

/// The size of the system's buffer for what a client has not read yet; Linux takes twice as much
/// for its own overhead. By default the buffer grows to megabytes, which the write timeout would
/// not see. This size sends a megabyte a second at a round trip of 60 ms.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// Why the server can't serve.
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
    /// The store failed to close.
    #[error("the store could not be closed: {0}")]
    Close(#[from] StoreError),
}

/// A server that has bound its sockets but does not serve yet.
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
    /// Binds the listeners and reads the TLS files, so that errors in them appear before the server
    /// starts.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listen`] and [`ServeError::Tls`].
    pub async fn bind(options: ServerOptions, registry: Arc<Registry>) -> Result<Self, ServeError> {
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let write_timeout = options.write_timeout;
        let (listener, local_addr) = listen(options.listen, write_timeout)?;
        let metrics = options.metrics_listen.map(|address| listen(address, write_timeout)).transpose()?;
        let open_files = OpenFiles::raise(options.max_connections);
        Ok(Self { listener, local_addr, metrics, tls, open_files, options, registry })
    }

    /// The address that the server listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The address for metrics, if they are served.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
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

    /// Serves until `shutdown` completes. Then the server stops accepting, closes idle connections,
    /// gives requests in flight `shutdown_grace` to finish, and closes the registry.
    ///
    /// # Errors
    ///
    /// [`ServeError::Close`] if the registry could not be closed.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let max_connections = self.max_connections();
        let Self { listener, metrics: metrics_listener, tls, options, registry, .. } = self;
        let service = Arc::new(Service::new(registry, options.service.clone()));
        let mut background = JoinSet::new();
        background.spawn(keep_time(options.service.clock.clone(), service.registry.clone()));
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
            open: Connections::new(max_connections, options.trusted_hops > 0),
            stopped,
            connections: JoinSet::new(),
        };

        acceptor.accept_until(shutdown).await;
        let Acceptor { mut connections, listener, .. } = acceptor;
        // New clients are refused by the system from here on.
        drop(listener);
        // Event streams have no end of their own and would delay the shutdown.
        service.watchers.end();
        // This fails if no connection is left to receive it, which is fine.
        let _ = stop.send(true);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        if timeout(options.shutdown_grace, all_ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "closed connections whose requests exceeded the grace period of the shutdown"
            );
            connections.shutdown().await;
        }
        // The sweep must not use the store after it is closed.
        background.shutdown().await;
        Ok(service.registry.store().close().await?)
    }
}

fn listen(address: SocketAddr, write_timeout: Duration) -> Result<(TcpListener, SocketAddr), ServeError> {
    let error = |source| ServeError::Listen { address, source };
    let listener = bind(address, write_timeout).map_err(error)?;
    let local_addr = listener.local_addr().map_err(error)?;
    Ok((listener, local_addr))
}

fn bind(address: SocketAddr, write_timeout: Duration) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for connections of the previous process to time out.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit both options.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(write_timeout))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections up to a limit.
struct Acceptor {
    listener: TcpListener,
    overflow: Overflow,
    server: Arc<ConnectionServer>,
    service: Arc<Service>,
    open: Arc<Connections>,
    stopped: watch::Receiver<bool>,
    connections: JoinSet<()>,
}

impl Acceptor {
    async fn accept_until(&mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        // A failure that persists is logged once, not at each attempt.
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
        let state = self.server.new_state();
        let Some(Admitted { guard, key, displaced }) = self.open.admit(peer.ip(), state.clone()) else {
            self.service.metrics.connections_refused.inc();
            return self.overflow.refuse(stream);
        };
        if displaced {
            self.service.metrics.connections_displaced.inc();
        }
        // Without this option, latency is higher, but nothing breaks.
        let _ = stream.set_nodelay(true);
        let (server, service, stopped) = (self.server.clone(), self.service.clone(), self.stopped.clone());
        let task = self.connections.spawn(async move {
            let (_guard, _open) = (guard, service.metrics.connection_open());
            server.serve(stream, peer.ip(), state, stopped).await;
        });
        self.open.started(key, task);
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_connections_have_a_small_buffer_and_end_if_nothing_is_read() {
        let timeout = Duration::from_secs(7);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), timeout).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = socket2::SockRef::from(&accepted);
        // Linux reports twice the size that was set.
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER_BYTES as usize);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout));
    }
}
