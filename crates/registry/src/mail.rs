//! Mail: who may send messages and receive them, and what a store keeps of them.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use aurora_discovery_protocol::{
    Code, LeaseToken, MailId, MailRequest, PeerId, Refusal, SignedMessage, SignedRecord, Timestamp,
};

use crate::signed::is_near;
use crate::{Caller, Delivery, Error, Held, Letter, Registry, SidHash, Source, Standing, StoreError};

/// The mailboxes of a store's peers. Not every store has any.
///
/// # What is kept
/// A mailbox keeps each message until its receiver acknowledges it, or for [`Letter::LIFE_MILLIS`].
/// [`Mailbox::deliver`] enforces the bounds of one mailbox. A store changes mailboxes only by the
/// methods of [`Mailbox`]. It may also bound the messages in all mailboxes together, and those of
/// each source. If the process or the server that keeps messages ends, they may be lost.
///
/// # Atomicity
/// Each method is atomic for each mailbox. If a call returns `Err`, or if its future is dropped,
/// the call may or may not have taken effect. In both cases, only messages that were acknowledged
/// or have expired are deleted.
///
/// # Rules
/// The store does not decide which client may send or receive. The registry decides it from what
/// [`Mailboxes::peer`] returns.
///
/// [`Mailbox`]: crate::Mailbox
/// [`Mailbox::deliver`]: crate::Mailbox::deliver
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// What the store knows of a peer, live or dormant. `None` if the peer is unknown.
    async fn peer(&self, peer: &PeerId, now: Timestamp) -> Result<Option<KnownPeer>, StoreError>;

    /// Puts a message into the mailbox of `to`, if the bounds permit it.
    async fn deliver(&self, to: &PeerId, letter: Letter, now: Timestamp) -> Result<Delivery, StoreError>;

    /// Deletes the messages with the ids `acknowledged` from the mailbox of `peer`, and returns the
    /// others, in the order in which they were sent.
    async fn collect(
        &self,
        peer: &PeerId,
        acknowledged: &[MailId],
        now: Timestamp,
    ) -> Result<Vec<Letter>, StoreError>;

    /// A signal for messages to `peer`. `None` if the store does not learn of messages that other
    /// processes deliver.
    fn signal(&self, peer: &PeerId) -> Option<Box<dyn MailSignal>>;
}

/// Signals that messages for a peer may have arrived.
pub trait MailSignal: Send {
    /// Becomes ready once if any messages have arrived since the signal was made or was last ready.
    /// It may also become ready without a message.
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()>;
}

/// What a store knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// Its lease, its holder, and the lock of its name.
    pub standing: Standing,
    /// The signed registration, a compact JWS, if it is signed.
    pub record: Option<Arc<str>>,
}

/// A message whose sender has proved itself.
#[derive(Clone, Debug)]
pub struct AcceptedMail {
    message: SignedMessage,
    source: Source,
}

impl KnownPeer {
    fn has_mailbox(&self) -> bool {
        self.standing.lock.is_some() && self.record.as_deref().is_some_and(SignedRecord::has_mailbox)
    }
}

impl AcceptedMail {
    /// The sender.
    pub fn from(&self) -> &PeerId {
        self.message.from()
    }
}

impl Registry {
    /// Checks that a message comes from the peer that it names as its sender, and that the sender
    /// may send it. The lease token proves this. The signature is verified by the receiver and not
    /// here. The message is not delivered yet, so that the caller of this function can first count
    /// it against the sender's rate limit.
    ///
    /// # Errors
    /// [`Error::NoMailboxes`], [`Error::StaleMessage`], [`Error::NotRegistered`],
    /// [`Error::NotHolder`], [`Error::NoMailbox`], [`Error::InvalidRecord`] if the message names
    /// another key than that of the sender's registration, [`Error::Blocked`], or the store's
    /// failure.
    pub async fn accept_mail(
        &self,
        request: MailRequest,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<AcceptedMail, Error> {
        let MailRequest { message, lease_token, .. } = request;
        let timestamp = self.shown(now);
        if !is_near(timestamp, message.issued_at()) {
            return Err(Error::StaleMessage { timestamp });
        }
        let sender = self.mailbox_holder(message.from(), &lease_token, caller, now).await?;
        if sender.standing.lock.is_none_or(|lock| lock.key != message.claimed_key()) {
            return Err(Error::InvalidRecord(Refusal {
                field: Some("message".into()),
                ..Refusal::new(
                    Code::InvalidSignature,
                    "message must be signed by the key of the sender's registration",
                )
            }));
        }
        Ok(AcceptedMail { message, source: Source::of(caller.address) })
    }

    /// Puts a message into the mailbox of its receiver.
    ///
    /// # Errors
    /// [`Error::NoMailboxes`], [`Error::ReceiverNotLive`], [`Error::NoMailbox`],
    /// [`Error::RepeatedMessage`], [`Error::MailboxFull`], [`Error::TooMuchMail`], or the store's
    /// failure.
    pub async fn deliver_mail(&self, mail: AcceptedMail, now: Timestamp) -> Result<(), Error> {
        let AcceptedMail { message, source } = mail;
        let mailboxes = self.mailboxes()?;
        let receiver = mailboxes.peer(message.to(), now).await?;
        let receiver = receiver.filter(|peer| peer.standing.is_live(now)).ok_or(Error::ReceiverNotLive)?;
        if !receiver.has_mailbox() {
            return Err(Error::NoMailbox { is_receiver: true });
        }
        let letter = Letter {
            id: MailId::new(fastrand::u64(..)),
            from: message.from().clone(),
            source,
            sid: SidHash::of(message.from(), message.sid()),
            message: message.as_str().into(),
            sent_at: now,
        };
        match mailboxes.deliver(message.to(), letter, now).await? {
            Delivery::Delivered => Ok(()),
            Delivery::Repeated => Err(Error::RepeatedMessage),
            Delivery::MailboxFull => Err(Error::MailboxFull),
            Delivery::SourceFull => Err(Error::TooMuchMail),
            Delivery::StoreFull => Err(StoreError::Unavailable {
                reason: "the memory for messages is used up".to_owned(),
                retry_after_seconds: 5,
            }
            .into()),
        }
    }

    /// Deletes the messages that a peer has acknowledged, and returns those that wait for it.
    ///
    /// # Errors
    /// [`Error::NoMailboxes`], [`Error::NotRegistered`], [`Error::NotHolder`],
    /// [`Error::NoMailbox`], [`Error::Blocked`], or the store's failure.
    pub async fn collect_mail(
        &self,
        peer: &PeerId,
        token: &LeaseToken,
        acknowledged: &[MailId],
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Vec<Letter>, Error> {
        self.mailbox_holder(peer, token, caller, now).await?;
        Ok(self.mailboxes()?.collect(peer, acknowledged, now).await?)
    }

    /// A signal for messages to `peer`, if the store has one.
    pub fn mail_signal(&self, peer: &PeerId) -> Option<Box<dyn MailSignal>> {
        self.store().mailboxes().and_then(|mailboxes| mailboxes.signal(peer))
    }

    /// Returns the peer if it is live, has a mailbox, and the caller has its token. The token is
    /// required even if the operator has disabled the holder rule.
    async fn mailbox_holder(
        &self,
        peer: &PeerId,
        token: &LeaseToken,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<KnownPeer, Error> {
        let claim = self.claim(caller, Some(token));
        self.check_block(peer, None, claim.source, now).await?;
        let known = self.mailboxes()?.peer(peer, now).await?;
        let known = known.filter(|peer| peer.standing.is_live(now)).ok_or(Error::NotRegistered)?;
        if !claim.has_token_of(&known.standing.holder) {
            return Err(Error::NotHolder(Held { until: self.shown(known.standing.expires_at) }));
        }
        if !known.has_mailbox() {
            return Err(Error::NoMailbox { is_receiver: false });
        }
        Ok(known)
    }

    fn mailboxes(&self) -> Result<&dyn Mailboxes, Error> {
        self.store().mailboxes().ok_or(Error::NoMailboxes)
    }
}
