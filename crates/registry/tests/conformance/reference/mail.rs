//! The mailboxes of the reference store.

use async_trait::async_trait;
use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use aurora_discovery_registry::{
    Delivery, KnownPeer, Letter, MailSignal, Mailbox, Mailboxes, Source, StoreError,
};

use super::{Fault, Reference};

#[async_trait]
impl Mailboxes for Reference {
    async fn peer(&self, peer: &PeerId, now: Timestamp) -> Result<Option<KnownPeer>, StoreError> {
        let peers = self.known(now)?;
        let entry = peers.get(&self.key(peer)).filter(|entry| !entry.standing().is_tombstone());
        Ok(entry.map(|entry| KnownPeer {
            standing: entry.standing(),
            record: entry.signed.as_ref().map(|signed| signed.record.clone()),
        }))
    }

    async fn deliver(&self, to: &PeerId, mut letter: Letter, now: Timestamp) -> Result<Delivery, StoreError> {
        if self.is(Fault::MailOfAnySource) {
            letter.source = Source::of([127, 0, 0, 1].into());
        }
        let mut mailboxes = self.mailboxes.lock().unwrap();
        let mailbox = mailboxes.entry(self.receiver(to)).or_default();
        if self.is(Fault::MailForgetsSessions) {
            *mailbox = forgetful(mailbox, now);
        }
        let before = mailbox.clone();
        let delivery = mailbox.deliver(letter, now);
        if self.is(Fault::MailRefusesNothing) && delivery == Delivery::MailboxFull {
            *mailbox = before;
            return Ok(Delivery::Delivered);
        }
        Ok(delivery)
    }

    async fn collect(
        &self,
        peer: &PeerId,
        acknowledged: &[MailId],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError> {
        let mut mailboxes = self.mailboxes.lock().unwrap();
        let mailbox = mailboxes.entry(self.receiver(peer)).or_default();
        mailbox.acknowledge(acknowledged);
        let now = if self.is(Fault::MailNeverExpires) { Timestamp::default() } else { now };
        let letters: Vec<_> = mailbox.letters(now).cloned().collect();
        if self.is(Fault::MailIsReadOnce) {
            mailbox.acknowledge(&letters.iter().map(|letter| letter.id).collect::<Vec<_>>());
        }
        Ok(letters)
    }

    fn signal(&self, _: &PeerId) -> Option<Box<dyn MailSignal>> {
        None
    }
}

impl Reference {
    fn receiver(&self, peer: &PeerId) -> PeerId {
        if self.is(Fault::MailForAll) { PeerId::parse("all").unwrap() } else { peer.clone() }
    }
}

/// A copy of the mailbox that has the same messages. Of the sessions, it remembers only those of
/// these messages.
fn forgetful(mailbox: &Mailbox, now: Timestamp) -> Mailbox {
    let mut copy = Mailbox::default();
    for letter in mailbox.letters(now) {
        copy.deliver(letter.clone(), now);
    }
    copy
}
