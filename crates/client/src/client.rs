//! The client, with a method for each request of the API.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{
    BlockRequest, BlockResponse, BlocksResponse, ChangesRequest, DeltaResponse, DeregisterRequest,
    DeregisterResponse, DiscoverRequest, DiscoverResponse, EvictResponse, HealthResponse, HeartbeatRequest,
    HeartbeatResponse, HeartbeatsRequest, HeartbeatsResponse, MailRequest, MailResponse, MailboxRequest,
    MailboxResponse, NetworkResponse, Order, RegisterRequest, RegisterResponse, SignedRegisterRequest,
    SubjectRequest, UnblockResponse,
};
use serde::Serialize;

use crate::transport::{OutgoingRequest, Transport};
#[cfg(feature = "watch")]
use crate::watch::Watch;
use crate::{ClientOptions, Enumeration, Error};

/// A client of one service, which may have several endpoints. It is cheap to clone, and clones
/// share their connections.
///
/// The client starts at a random endpoint. It stays with an endpoint that works, and moves to the
/// next one after a transient failure, except if the service limits the rate of requests (429).
/// After 5 to 10 minutes, it returns to the endpoint that it started at. If the host name of the
/// failed endpoint has several addresses, the client also moves to the next address.
///
/// Requests are retried after transient failures, with exponentially growing waits and jitter. Only
/// [`Client::health`] and [`Client::probe`] send their request once. Retries are safe: if only the
/// response to an attempt was lost, the next attempt has the same effect, or is refused with a code
/// that the method documents.
///
/// # Runtime
/// All async calls need a tokio runtime with time and I/O enabled, of either flavor. Creating a
/// client does not.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Arc<Transport>,
}

impl Client {
    /// Creates a client without connecting, from its options or only the URLs of the service.
    ///
    /// # Errors
    /// [`Error::Options`] if an endpoint is not an HTTP URL, another option cannot be parsed, or no
    /// HTTP client can be created.
    pub fn new(options: impl Into<ClientOptions>) -> Result<Self, Error> {
        Ok(Self { transport: Arc::new(Transport::new(&options.into())?) })
    }

    /// The URL that the next request goes to.
    pub fn endpoint(&self) -> String {
        self.transport.endpoint().text()
    }

    /// Registers a peer, or replaces its registration and starts a new lease.
    ///
    /// # Errors
    /// See [`Error`]. The code is `not_holder` while another client holds a live lease of this id.
    /// If that lease is token-only, the code is `not_holder` also for three lease durations after
    /// its end. The code is `name_locked` if a key has locked the name.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request. Sending
    /// it again is safe.
    pub async fn register(&self, request: &RegisterRequest) -> Result<RegisterResponse, Error> {
        self.post("register", request, RegisterResponse::from_body).await
    }

    /// Registers a peer with a signed registration. Most callers use [`Signer`](crate::Signer)
    /// instead, which signs, sends, and signs again if the service reports a wrong clock or a later
    /// record.
    ///
    /// # Errors
    /// See [`Error`]. The code is `name_locked` if another key has locked the name,
    /// `stale_signature` if the clock of the client is wrong, and `stale_record` if the service
    /// knows a later record. It is `stale_record` also if an earlier attempt of the same call
    /// succeeded and its response was lost.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request.
    pub async fn register_signed(&self, request: &SignedRegisterRequest) -> Result<RegisterResponse, Error> {
        self.post("register", request, RegisterResponse::from_body).await
    }

    /// Renews a lease, or revives a dormant peer, that is, one whose lease has ended but which the
    /// service still remembers.
    ///
    /// # Errors
    /// See [`Error`]. The code is `peer_not_registered` if the service does not know the peer,
    /// which then has to register. The code is `not_holder` if the lease token in the request is
    /// not the current one, for example because another client has taken over the id. It is
    /// `not_holder` also if the registration is token-only and the request has no token.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request. Sending
    /// it again is safe.
    pub async fn heartbeat(&self, request: &HeartbeatRequest) -> Result<HeartbeatResponse, Error> {
        self.post("heartbeat", request, HeartbeatResponse::from_body).await
    }

    /// Renews the leases of up to a hundred peers, or revives dormant ones. The response has a
    /// result for each peer.
    ///
    /// # Errors
    /// See [`Error`]. The failure of a single peer, for example that it has to register, is not an
    /// error but the result for that peer.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request. Sending
    /// it again is safe.
    pub async fn heartbeats(&self, request: &HeartbeatsRequest) -> Result<HeartbeatsResponse, Error> {
        self.post("heartbeat", request, HeartbeatsResponse::from_body).await
    }

    /// Deregisters a peer.
    ///
    /// # Errors
    /// See [`Error`]. The code is `peer_not_registered` if the service does not know the peer. This
    /// also happens if an earlier attempt of the same call removed the peer and its response was
    /// lost. The code is `not_holder` if neither the lease token nor the address proves that the
    /// caller holds the registration.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request. Sending
    /// it again is safe.
    pub async fn deregister(&self, request: &DeregisterRequest) -> Result<DeregisterResponse, Error> {
        self.post("deregister", request, |body| serde_json::from_slice(body)).await
    }

    /// Leaves a message in the mailbox of another peer.
    ///
    /// # Errors
    /// See [`Error`]. The code is `peer_not_registered` if the sender or the receiver is not live,
    /// `no_mailbox` if one of them has no mailbox, and `not_holder` if the lease token is not the
    /// sender's. It is `stale_signature` if the message was signed with a wrong clock, and
    /// `mailbox_full` if the receiver has not fetched earlier messages. It is
    /// `repeated_message` if the receiver was recently sent this message, or another one of the
    /// same session by the same sender. This also happens if an earlier attempt of the same call
    /// succeeded and its response was lost.
    ///
    /// # Cancel safety
    /// If the future is dropped, the service may or may not have carried out the request.
    pub async fn mail(&self, request: &MailRequest) -> Result<MailResponse, Error> {
        self.post("mail", request, |body| serde_json::from_slice(body)).await
    }

    /// Fetches the messages in the mailbox of a peer, and acknowledges earlier ones. The service
    /// keeps each message until it is acknowledged, but for at most a minute. `wait_seconds` of the
    /// request is added to the time limit of the client.
    ///
    /// # Errors
    /// See [`Error`]. The code is `no_mailbox` if the peer has none, `peer_not_registered` if it is
    /// not live, and `not_holder` if the lease token is not its own.
    ///
    /// # Cancel safety
    /// If the future is dropped, no message is lost. Messages that the request does not acknowledge
    /// stay in the mailbox.
    pub async fn mailbox(&self, request: &MailboxRequest) -> Result<MailboxResponse, Error> {
        let wait = Duration::from_secs(request.wait_seconds.into());
        self.post_and_wait("mailbox", request, wait, |body| serde_json::from_slice(body)).await
    }

    /// Requests one page of live peers.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the request is abandoned. It changes nothing in the service.
    pub async fn discover(&self, request: &DiscoverRequest) -> Result<DiscoverResponse, Error> {
        self.get("discover", &request.parameters(), DiscoverResponse::from_body).await
    }

    /// Requests the changes since a cursor, or only the current cursor if the request has none. To
    /// follow all peers without missing a change, request the current cursor first. Then enumerate
    /// the peers, and then request the changes since that cursor.
    ///
    /// # Errors
    /// See [`Error`]. The code is `cursor_expired` if the service no longer has the changes since
    /// the cursor, so that the caller has to start over, and `not_available_here` if the service
    /// has no change log.
    ///
    /// # Cancel safety
    /// If the future is dropped, the request is abandoned. It changes nothing in the service.
    pub async fn changes(&self, request: &ChangesRequest) -> Result<DeltaResponse, Error> {
        self.get("discover", &request.parameters(), DeltaResponse::from_body).await
    }

    /// Lists all live peers that match, page by page, with at most `limit` peers a page. The order,
    /// the cursor and the fill of `request` are ignored. No request is sent before the first page
    /// is taken.
    pub fn enumerate(&self, request: DiscoverRequest) -> Enumeration {
        let request = DiscoverRequest { order: Order::All, cursor: None, fill: None, ..request };
        Enumeration::new(self.clone(), request)
    }

    /// Watches the peers that match: a stream of peers as they join, change and leave, which
    /// reconnects after failures. A [`DiscoverRequest`] selects the peers, as in
    /// [`Client::discover`]; a [`ChangesRequest`] can also name the cursor to continue from. No
    /// request is sent before the first event is awaited. See [`Watch`].
    #[cfg(feature = "watch")]
    pub fn watch(&self, request: impl Into<ChangesRequest>) -> Watch {
        Watch::new(self.clone(), request.into())
    }

    /// Requests statistics of the whole network.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the request is abandoned. It changes nothing in the service.
    pub async fn network(&self) -> Result<NetworkResponse, Error> {
        self.get("network", &[], |body| serde_json::from_slice(body)).await
    }

    /// Requests the health of the service. "Unhealthy" is a regular response, not an error, and is
    /// not retried. After a failure, the next request goes to another endpoint if that may do
    /// better.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the request is abandoned. It changes nothing in the service.
    pub async fn health(&self) -> Result<HealthResponse, Error> {
        let (route, response) = self.transport.exchange(&OutgoingRequest::get("health", &[])).await?;
        serde_json::from_slice(&response.body).map_err(|error| {
            let error = response.endpoint.malformed(response.status, &error);
            self.transport.failed(&route, &error);
            error
        })
    }

    /// Deletes all peers of a subject. Needs the API key of an operator.
    ///
    /// # Errors
    /// See [`Error`]. The code is `unauthorized` or `forbidden` if the client's API key does not
    /// permit the request, and `not_found` if the service is configured without an operator's key.
    pub async fn evict(&self, request: &SubjectRequest) -> Result<EvictResponse, Error> {
        self.post("admin/evict", request, |body| serde_json::from_slice(body)).await
    }

    /// Blocks a subject, and deletes its peers. Needs the API key of an operator.
    ///
    /// # Errors
    /// As [`Client::evict`].
    pub async fn block(&self, request: &BlockRequest) -> Result<BlockResponse, Error> {
        self.post("admin/block", request, |body| serde_json::from_slice(body)).await
    }

    /// Ends the block of a subject. Needs the API key of an operator.
    ///
    /// # Errors
    /// As [`Client::evict`]. The code is also `not_found` if the subject is not blocked, or if an
    /// earlier attempt of the same call succeeded and its response was lost.
    pub async fn unblock(&self, request: &SubjectRequest) -> Result<UnblockResponse, Error> {
        self.post("admin/unblock", request, |body| serde_json::from_slice(body)).await
    }

    /// Lists the blocks in force. Needs the API key of an operator.
    ///
    /// # Errors
    /// As [`Client::evict`].
    pub async fn blocks(&self) -> Result<BlocksResponse, Error> {
        self.get("admin/blocks", &[], |body| serde_json::from_slice(body)).await
    }

    async fn get<T>(
        &self,
        path: &str,
        parameters: &[(&str, Cow<'_, str>)],
        parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, Error> {
        let response = self.transport.send(&OutgoingRequest::get(path, parameters)).await?;
        parse(&response.body).map_err(|error| response.endpoint.malformed(response.status, &error))
    }

    async fn post<T>(
        &self,
        path: &str,
        request: &impl Serialize,
        parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, Error> {
        self.post_and_wait(path, request, Duration::ZERO, parse).await
    }

    /// Sends a request whose response the service may delay by `wait`, which extends the time
    /// limit.
    async fn post_and_wait<T>(
        &self,
        path: &str,
        request: &impl Serialize,
        wait: Duration,
        parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Error::Options(format!("the request cannot be serialized: {error}")))?;
        let response =
            self.transport.send(&OutgoingRequest { wait, ..OutgoingRequest::post(path, body) }).await?;
        parse(&response.body).map_err(|error| response.endpoint.malformed(response.status, &error))
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }
}
