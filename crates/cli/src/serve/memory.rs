//! A service within the process that stores nothing on disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_http::{Clock, ServeError, Server, ServerOptions};
use aurora_discovery_registry::{Limits, Registry};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// A running service in memory. It stops when this value is dropped, and ends with the runtime at
/// the latest.
pub(crate) struct MemoryService {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl MemoryService {
    /// Starts a service at this address.
    pub(crate) async fn start(limits: Limits, listen: SocketAddr) -> Result<Self, Failure> {
        let mut options = ServerOptions::default();
        options.listen = listen;
        options.service.clock = Clock::steady();
        // Draining gives load balancers time to notice the shutdown. There is none in front of this
        // service.
        options.shutdown_drain = Duration::ZERO;
        let store = EmbeddedStore::in_memory(limits.clone());
        let registry = Registry::new(store, limits).map_err(Failure::other)?;
        let server = Server::bind(options, Arc::new(registry)).await.map_err(Failure::other)?;
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            // `stop` drops the sender, so this ends with an error.
            let _ = stopped.await;
        }));
        Ok(Self { address, stop, task })
    }

    /// The URL of the service.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the service and waits until it has stopped.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        drop(self.stop);
        self.task.await.map_err(Failure::other)?.map_err(Failure::other)
    }
}
