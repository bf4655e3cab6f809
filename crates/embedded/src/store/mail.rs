//! The mailbox operations of the store. Messages are kept in memory only, so a restart of the
//! service loses them. A peer whose WebRTC offer was lost sends another one.

use async_trait::async_trait;
use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use aurora_discovery_registry::{Delivery, KnownPeer, Letter, MailSignal, Mailboxes, StoreError};

use super::EmbeddedStore;

/// The maximum number of mailboxes in which a sweep deletes expired messages and sessions while it
/// holds the lock of all mailboxes once.
const MAILBOXES_PER_LOCK: usize = 256;

#[async_trait]
impl Mailboxes for EmbeddedStore {
    async fn peer(&self, peer: &PeerId, now: Timestamp) -> Result<Option<KnownPeer>, StoreError> {
        self.check_open()?;
        let hash = self.shared.keys.peer(peer.as_str().as_bytes());
        Ok(self.read(now).known_peer(peer, hash, now))
    }

    async fn deliver(&self, to: &PeerId, letter: Letter, now: Timestamp) -> Result<Delivery, StoreError> {
        self.check_open()?;
        Ok(self.mail.deliver(to, letter, now))
    }

    async fn collect(
        &self,
        peer: &PeerId,
        acknowledged: &[MailId],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError> {
        self.check_open()?;
        Ok(self.mail.collect(peer, acknowledged, now))
    }

    fn signal(&self, peer: &PeerId) -> Option<Box<dyn MailSignal>> {
        Some(Box::new(self.mail.wait(peer)))
    }
}

impl EmbeddedStore {
    pub(super) async fn sweep_mail(&self, now: Timestamp) {
        while self.mail.forget(now, MAILBOXES_PER_LOCK) {
            tokio::task::yield_now().await;
        }
    }
}
