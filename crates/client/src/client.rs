//! The contract's calls.

use aurora_protocol::{
    DeltaResponse, DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, FollowRequest,
    HealthResponse, HeartbeatRequest, HeartbeatResponse, HeartbeatsRequest, HeartbeatsResponse,
    NetworkResponse, Order, RegisterRequest, RegisterResponse,
};
use serde::Serialize;

use crate::transport::Transport;
use crate::{ClientOptions, Enumeration, Error};

/// A client of one service. Cheap to clone; clones share their connections.
///
/// Every call is tried again, with growing jittered waits, after failures that may pass; all calls of the contract may be
/// made twice without harm. It needs a tokio runtime with its clock and its network.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Options`] if the endpoint is no URL of HTTP or the certificates can't be read.
    pub fn new(options: &ClientOptions) -> Result<Self, Error> {
        Ok(Self { transport: Transport::new(options)? })
    }

    /// Where the service answers.
    pub fn endpoint(&self) -> String {
        self.transport.endpoint()
    }

    /// Registers a peer, or replaces its registration: a new lease.
    ///
    /// # Errors
    /// See [`Error`]; `not_holder` while somebody else holds a live lease of this id.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RegisterResponse, Error> {
        self.post("register", request, RegisterResponse::from_body).await
    }

    /// Renews a lease, or revives a dormant peer.
    ///
    /// # Errors
    /// See [`Error`]; `peer_not_registered` where the service has nothing of the peer, which then has to register.
    pub async fn heartbeat(&self, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Error> {
        self.post("heartbeat", request, HeartbeatResponse::from_body).await
    }

    /// Renews the leases of up to a hundred peers, or revives them, each answered for itself.
    ///
    /// # Errors
    /// See [`Error`]; what became of a single peer (that it has to register, say) is no error but its result.
    pub async fn heartbeats(&self, request: &HeartbeatsRequest) -> Result<HeartbeatsResponse, Error> {
        self.post("heartbeat", request, HeartbeatsResponse::from_body).await
    }

    /// Takes a peer out of the registry.
    ///
    /// # Errors
    /// See [`Error`]; `peer_not_registered` where there is none, also when an earlier attempt of this very call removed
    /// it and only its answer was lost.
    pub async fn deregister(&self, request: &DeregisterRequest) -> Result<DeregisterResponse, Error> {
        self.post("deregister", request, |body| serde_json::from_slice(body)).await
    }

    /// One page of live peers.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn discover(&self, request: &DiscoverRequest) -> Result<DiscoverResponse, Error> {
        let answer = self.transport.call(self.transport.get("discover", &request.parameters())).await?;
        DiscoverResponse::from_body(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    /// Who came and went since a cursor; without one, the cursor of now and nobody. Call it first, enumerate, and go on from the
    /// `since` of its answer: so nothing is missed.
    ///
    /// # Errors
    /// See [`Error`]; `cursor_expired` where the service does not remember as long, and one has to begin anew, and
    /// `not_available_here` where it does not remember at all.
    pub async fn changes(&self, request: &FollowRequest) -> Result<DeltaResponse, Error> {
        let answer = self.transport.call(self.transport.get("discover", &request.parameters())).await?;
        DeltaResponse::from_body(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    /// All live peers that match, page by page; `request`'s order and cursor are the enumeration's own.
    pub fn enumerate(&self, request: DiscoverRequest) -> Enumeration {
        Enumeration::new(self.clone(), DiscoverRequest { order: Order::All, cursor: None, ..request })
    }

    /// The network's figures.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn network(&self) -> Result<NetworkResponse, Error> {
        let answer = self.transport.call(self.transport.get("network", &[])).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.unreadable(answer.status, &error))
    }

    /// How the service is. An unhealthy one is an answer, not an error, and is not asked again.
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

    /// The error of an answer whose body can't be read.
    pub(crate) fn unreadable(&self, status: u16, cause: &dyn std::fmt::Display) -> Error {
        self.transport.protocol(status, format!("a body that can't be read ({cause})"))
    }
}
