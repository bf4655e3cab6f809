//! Deregisters a peer, unless another client has taken over its id.

use aurora_discovery_protocol::{Code, DeregisterRequest, HeartbeatRequest, LeaseToken, PeerId};

use crate::{Client, Error};

/// A registration that may be released: the data for its deregistration.
#[derive(Debug)]
pub(super) struct HeldLease {
    pub(super) client: Client,
    pub(super) peer_id: PeerId,
    /// `None` if no registration has returned a token.
    pub(super) token: Option<LeaseToken>,
}

/// The result of a release.
pub(super) enum Release {
    /// The peer is no longer registered.
    Deregistered,
    /// Another client holds the id, and its registration is unchanged.
    TakenOver {
        /// What the service said.
        reason: String,
    },
}

impl HeldLease {
    pub(super) async fn release(&self) -> Result<Release, Error> {
        match self.deregister().await {
            Ok(()) => Ok(Release::Deregistered),
            Err(error) => match error.code() {
                Some(Code::PeerNotRegistered) => Ok(Release::Deregistered),
                Some(Code::NotHolder) => Ok(Release::TakenOver { reason: error.to_string() }),
                _ => Err(error),
            },
        }
    }

    async fn deregister(&self) -> Result<(), Error> {
        let request = DeregisterRequest { peer_id: self.peer_id.clone(), lease_token: self.token.clone() };
        if self.token.is_some() {
            // From the holder's address, the service accepts a deregistration with an old token, as
            // it accepts one without a token. It always refuses a heartbeat with an old token, so
            // the heartbeat shows whether another client holds the id.
            let heartbeat = HeartbeatRequest {
                lease_token: self.token.clone(),
                ..HeartbeatRequest::new(self.peer_id.clone())
            };
            self.client.heartbeat(&heartbeat).await?;
        }
        self.client.deregister(&request).await?;
        Ok(())
    }
}
