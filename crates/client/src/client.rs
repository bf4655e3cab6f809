//! The requests of the contract.

use aurora_discovery_protocol::{
    ChangesRequest, DeltaResponse, DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse,
    HealthResponse, HeartbeatRequest, HeartbeatResponse, HeartbeatsRequest, HeartbeatsResponse,
    NetworkResponse, Order, RegisterRequest, RegisterResponse,
};
use serde::Serialize;

use crate::transport::Transport;
use crate::{ClientOptions, Enumeration, Error};

/// A client of one service. It is cheap to clone, and clones share their connections.
///
/// Every request is retried after transient failures, with exponentially growing waits and jitter.
/// This is safe because every request of the contract may be sent twice. The client needs a tokio
/// runtime with time and I/O enabled.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// Creates a client without connecting.
    ///
    /// # Errors
    /// [`Error::Options`] if the endpoint is not an HTTP URL or the certificates cannot be parsed.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(options)? })
    }

    /// The URL of the service.
    pub fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    /// Registers a peer, or replaces its registration and starts a new lease.
    ///
    /// # Errors
    /// See [`Error`]. The code is `not_holder` while another client holds a live lease of this id.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RegisterResponse, Error> {
        self.post("register", request, RegisterResponse::from_body).await
    }

    /// Renews a lease, or revives a dormant peer.
    ///
    /// # Errors
    /// See [`Error`]. The code is `peer_not_registered` if the service does not know the peer,
    /// which then has to register.
    pub async fn heartbeat(&self, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Error> {
        self.post("heartbeat", request, HeartbeatResponse::from_body).await
    }

    /// Renews the leases of up to a hundred peers, or revives dormant ones. The response has a
    /// result for each peer.
    ///
    /// # Errors
    /// See [`Error`]. The failure of a single peer, for example that it has to register, is not an
    /// error but the result for that peer.
    pub async fn heartbeats(&self, request: &HeartbeatsRequest) -> Result<HeartbeatsResponse, Error> {
        self.post("heartbeat", request, HeartbeatsResponse::from_body).await
    }

    /// Deregisters a peer.
    ///
    /// # Errors
    /// See [`Error`]. The code is `peer_not_registered` if the service does not know the peer. This
    /// also happens if an earlier attempt of the same call removed the peer and its response was
    /// lost.
    pub async fn deregister(&self, request: &DeregisterRequest) -> Result<DeregisterResponse, Error> {
        self.post("deregister", request, |body| serde_json::from_slice(body)).await
    }

    /// Requests one page of live peers.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn discover(&self, request: &DiscoverRequest) -> Result<DiscoverResponse, Error> {
        let answer = self.transport.call(self.transport.get("discover", &request.parameters())).await?;
        DiscoverResponse::from_body(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    /// Requests the changes since a cursor, or only the current cursor if the request has none. To
    /// miss nothing, request the current cursor first, then enumerate, and then request changes
    /// from that cursor.
    ///
    /// # Errors
    /// See [`Error`]. The code is `cursor_expired` if the service no longer has the changes since
    /// the cursor, so that the caller has to start over, and `not_available_here` if the service
    /// has no change log.
    pub async fn changes(&self, request: &ChangesRequest) -> Result<DeltaResponse, Error> {
        let answer = self.transport.call(self.transport.get("discover", &request.parameters())).await?;
        DeltaResponse::from_body(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    /// Lists all live peers that match, page by page. The order and the cursor of `request` are
    /// ignored.
    pub fn enumerate(&self, request: DiscoverRequest) -> Enumeration {
        Enumeration::new(self.clone(), DiscoverRequest { order: Order::All, cursor: None, ..request })
    }

    /// Requests the figures of the network.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn network(&self) -> Result<NetworkResponse, Error> {
        let answer = self.transport.call(self.transport.get("network", &[])).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    /// Requests the health of the service. "Unhealthy" is a regular response, not an error, and is
    /// not retried.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn health(&self) -> Result<HealthResponse, Error> {
        let (answer, _) = self.transport.exchange(&self.transport.get("health", &[])).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    async fn post<T>(
        &self,
        path: &str,
        request: &impl Serialize,
        read: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Error::Options(format!("the request can't be written: {error}")))?;
        let answer = self.transport.call(self.transport.post(path, body)).await?;
        read(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The error for a response whose body cannot be parsed.
    pub(crate) fn unreadable(&self, status: u16, cause: &dyn std::fmt::Display) -> Error {
        self.transport.protocol(status, format!("a body that can't be read ({cause})"))
    }
}
