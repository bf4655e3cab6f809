//! Mailboxes. Each receiver has one item, which DynamoDB deletes once everything in it has expired.
//!
//! To change a mailbox, the store reads the item, lets [`Mailbox`] decide what to change, and
//! writes the item back. DynamoDB refuses the write if another process has changed the item
//! meanwhile. The store then starts again.

use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use aurora_discovery_registry::{Delivery, KnownPeer, Letter, Mailbox, StoreError};

use crate::core::{Core, Lookup, MAX_ATTEMPTS, new_generation};
use crate::expression::Expression;
use crate::failure::unavailable;
use crate::item::{self, Item};
use crate::table::WriteOutcome;

/// A mailbox as it was read, and the condition that its item has not changed since.
type ReadMailbox = (Mailbox, Expression);

impl Core {
    /// Reads a peer as a sender or a receiver of messages. `None` if it is unknown or a tombstone.
    /// The read has strong consistency, so a peer that was evicted or has deregistered can no
    /// longer send or receive.
    pub(crate) async fn known_peer(
        &self,
        peer: &PeerId,
        now: Timestamp,
    ) -> Result<Option<KnownPeer>, StoreError> {
        let Lookup::Found(stored) = self.look_up(peer).await? else { return Ok(None) };
        let standing = stored.standing();
        if standing.is_tombstone() || !stored.is_known(now, self.revival_window_millis) {
            return Ok(None);
        }
        Ok(Some(KnownPeer { standing, record: stored.signed.map(|signed| signed.record) }))
    }

    pub(crate) async fn deliver(
        &self,
        to: &PeerId,
        letter: &Letter,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        let deliver = |mailbox: &mut Mailbox| {
            let delivery = mailbox.deliver(letter.clone(), now);
            (delivery, delivery == Delivery::Delivered)
        };
        let is_written = |mailbox: &Mailbox| {
            let is_here = mailbox.letters(now).any(|waiting| waiting.id == letter.id);
            is_here.then_some(Delivery::Delivered)
        };
        self.change_mailbox(to, deliver, is_written).await
    }

    pub(crate) async fn collect(
        &self,
        peer: &PeerId,
        acknowledged: &[MailId],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError> {
        let collect = |mailbox: &mut Mailbox| {
            let deleted = mailbox.acknowledge(acknowledged);
            (mailbox.letters(now).cloned().collect(), deleted > 0)
        };
        self.change_mailbox(peer, collect, |_| None).await
    }

    /// Changes a mailbox. `change` returns the result of the operation, and whether it has changed
    /// the mailbox, which must then be written.
    ///
    /// A write may be refused because an earlier attempt of the SDK has made it and its response
    /// was lost. `is_written` recognizes this from the mailbox in the table, and returns the
    /// result.
    async fn change_mailbox<T: Send>(
        &self,
        peer: &PeerId,
        change: impl Fn(&mut Mailbox) -> (T, bool) + Send + Sync,
        is_written: impl Fn(&Mailbox) -> Option<T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let position = self.position(peer).await?;
        let (mut mailbox, mut unchanged) = self.mailbox_of(self.table.get(item::mailbox_key(peer)).await?);
        let mut lock = None;
        for attempt in 0..MAX_ATTEMPTS {
            let (result, has_changed) = change(&mut mailbox);
            if !has_changed {
                return Ok(result);
            }
            let changed = item::mailbox_item(peer, &mailbox, new_generation()?);
            match self.table.put(changed, unchanged).await? {
                WriteOutcome::Done => return Ok(result),
                WriteOutcome::Refused(item) => {
                    // Requests of this process whose write to the same mailbox was refused wait for
                    // each other from then on.
                    if lock.is_none() {
                        lock = Some(self.lock(position).await);
                    }
                    let item = self.read_again(item::mailbox_key(peer), item, attempt).await?;
                    (mailbox, unchanged) = self.mailbox_of(item);
                    if let Some(result) = is_written(&mailbox) {
                        return Ok(result);
                    }
                }
            }
        }
        Err(unavailable("the mailbox is being changed by too many concurrent requests"))
    }

    /// Parses the mailbox in an item. A mailbox that can't be parsed counts as empty, because its
    /// messages are lost in any case.
    fn mailbox_of(&self, item: Option<Item>) -> ReadMailbox {
        let Some(item) = item else { return (Mailbox::default(), Expression::absent()) };
        match item::mailbox_of(&item) {
            Ok((mailbox, generation)) => (mailbox, Expression::same_generation(generation)),
            Err(error) => {
                self.report_unreadable(&item, &error);
                (Mailbox::default(), Expression::same_unreadable(&item))
            }
        }
    }
}
