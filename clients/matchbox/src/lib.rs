#![doc = include_str!("../README.md")]

mod post;
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aurora_discovery_client::{Client, PublicKey, SecretKey};
use matchbox_socket::async_trait::async_trait;
use matchbox_socket::{PeerEvent, PeerId, PeerRequest, SignalingError, Signaller, SignallerBuilder};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

/// Joins rooms on an Aurora Discovery service, for
/// [`WebRtcSocketBuilder::signaller_builder`](matchbox_socket::WebRtcSocketBuilder::signaller_builder).
/// The room URL of the socket is the name of the room, of at most 55 characters.
///
/// Clones share the keys of the peers.
#[derive(Clone, Debug)]
pub struct AuroraSignallerBuilder {
    client: Client,
    runtime: Handle,
    /// `None`: each socket gets a new key.
    key: Option<SecretKey>,
    keys: Keys,
    /// The number of rooms that are being joined or are not left yet.
    rooms: Arc<watch::Sender<usize>>,
}

/// The keys of the peers with which there has been contact.
#[derive(Clone, Debug, Default)]
struct Keys(Arc<Mutex<HashMap<PeerId, PublicKey>>>);

impl AuroraSignallerBuilder {
    /// A builder for sockets that join rooms on the service of `client`. The requests to the
    /// service are made on `runtime`, a tokio runtime with time and I/O enabled, so that any
    /// executor can poll a socket.
    pub fn new(client: Client, runtime: Handle) -> Self {
        Self { client, runtime, key: None, keys: Keys::default(), rooms: Arc::default() }
    }

    /// Signs with this key, by which other programs recognize the peer after a restart. By default,
    /// each socket gets a new key.
    #[must_use]
    pub fn key(self, key: SecretKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// The key with which a peer signs its registration and its messages. The messages contain the
    /// fingerprint of the peer's certificate, so the connection is to the holder of this key.
    /// `None` if there has been no contact with this peer.
    pub fn key_of(&self, peer: PeerId) -> Option<PublicKey> {
        self.keys.0.lock().unwrap_or_else(PoisonError::into_inner).get(&peer).copied()
    }

    /// Waits until no socket of this builder and its clones is in a room or is joining one. A
    /// socket leaves its room once it is dropped, and others then no longer find it there. This
    /// also waits for sockets that join a room in the meantime. Call it before the program ends.
    /// Otherwise others find the program's sockets until their leases end, as after a crash.
    pub async fn left(&self) {
        // The wait fails only if no sender exists, but this builder holds one.
        let _ = self.rooms.subscribe().wait_for(|rooms| *rooms == 0).await;
    }
}

/// A guard that counts a room until the room is left, or until joining it has failed.
struct Staying(Arc<watch::Sender<usize>>);

impl Staying {
    fn new(rooms: Arc<watch::Sender<usize>>) -> Self {
        rooms.send_modify(|rooms| *rooms += 1);
        Self(rooms)
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        self.0.send_modify(|rooms| *rooms -= 1);
    }
}

impl Keys {
    /// Whether this is the key of a peer. If no key of the peer is recorded yet, records this one.
    fn matches(&self, peer: PeerId, key: PublicKey) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *keys.entry(peer).or_insert(key) == key
    }
}

#[async_trait]
impl SignallerBuilder for AuroraSignallerBuilder {
    async fn new_signaller(
        &self,
        attempts: Option<u16>,
        room_url: String,
    ) -> Result<Box<dyn Signaller>, SignalingError> {
        let builder = self.clone();
        let joined = self.runtime.spawn(async move { room::join(builder, attempts, &room_url).await });
        let signaller = joined.await.map_err(failure)??;
        Ok(Box::new(signaller))
    }
}

/// One socket's end of the channels to the task of its room.
struct AuroraSignaller {
    requests: UnboundedSender<PeerRequest>,
    events: UnboundedReceiver<PeerEvent>,
}

#[async_trait]
impl Signaller for AuroraSignaller {
    async fn send(&mut self, request: PeerRequest) -> Result<(), SignalingError> {
        self.requests.send(request).map_err(|_| SignalingError::StreamExhausted)
    }

    async fn next_message(&mut self) -> Result<PeerEvent, SignalingError> {
        self.events.recv().await.ok_or(SignalingError::StreamExhausted)
    }
}

/// An error of this crate as matchbox reports it.
fn failure(error: impl std::fmt::Display) -> SignalingError {
    SignalingError::UserImplementationError(error.to_string())
}
