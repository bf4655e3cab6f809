//! The mail of one peer: signs and sends the signals of WebRTC as messages, and receives and
//! verifies those of other peers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aurora_discovery_client::{
    Client, Code, Error, LeaseToken, Mail, MailRequest, MailboxRequest, MessageTerms, PeerId, PublicKey,
    RegisterResponse, SecretKey, SignedMessage,
};
use matchbox_socket::PeerSignal;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// The type of the messages.
const KIND: &str = "matchbox";
/// The maximum length of the signals in one message, in bytes of JSON within a JSON string. A whole
/// message may have 4,096 bytes. The difference is for base64, the names, and the signature.
const MAX_SIGNALS: usize = 2_500;
/// The maximum difference between the time of a message and now, in seconds.
const MAX_AGE: u64 = 300;
/// How long ids of messages are remembered, to recognize repetitions. A message whose time is
/// [`MAX_AGE`] ahead of now stays acceptable for twice [`MAX_AGE`].
const MEMORY: Duration = Duration::from_secs(2 * MAX_AGE);
/// How long this peer expects an answer after it has sent a message. The service keeps the message
/// for that long. Meanwhile this peer requests mail at the interval that the service states, and
/// not only every [`IDLE`].
const EXPECTING: Duration = Duration::from_secs(60);
/// The interval between two requests for mail while no answer is expected. It applies only if the
/// service does not let requests wait for mail. The service keeps a message for twice as long, so a
/// message is normally requested before it is deleted.
const IDLE: Duration = Duration::from_secs(30);
/// The wait after a request for mail failed despite the client's own retries, and the minimum wait
/// after a response that came earlier than this although there was no mail.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The mail of one peer.
pub(crate) struct Post {
    client: Client,
    me: PeerId,
    token: LeaseToken,
    key: SecretKey,
    /// How far the clock of the service is ahead of the local one, in seconds.
    clock_offset: i64,
    /// When each message was received, by its sender, the key that signed it, and its id. The key
    /// is included because a message that another key signed would otherwise make the sender's own
    /// message with the same id count as a repetition.
    seen: Mutex<HashMap<(PeerId, PublicKey, String), Instant>>,
    last_sent: Mutex<Option<Instant>>,
    has_sent: Notify,
}

/// A message whose signature is verified.
pub(crate) struct Letter {
    pub(crate) from: matchbox_socket::PeerId,
    pub(crate) key: PublicKey,
    /// Empty if the sender only announces that it has joined the room.
    pub(crate) signals: Vec<PeerSignal>,
}

impl Post {
    /// The mail of a registered peer. `None` if the response to the registration has no lease
    /// token.
    pub(crate) fn new(
        client: Client,
        me: PeerId,
        key: SecretKey,
        response: &RegisterResponse,
    ) -> Option<Self> {
        let token = response.lease_token.clone()?;
        let service_time =
            response.ttl_expires.as_secs().saturating_sub(response.ttl_seconds.as_secs().into());
        let clock_offset = service_time.cast_signed().saturating_sub(local_time().cast_signed());
        let (seen, last_sent, has_sent) = Default::default();
        Some(Self { client, me, token, key, clock_offset, seen, last_sent, has_sent })
    }

    /// Sends signals to a peer. If the peer's mailbox is full, the client waits and retries a few
    /// times.
    pub(crate) async fn send(
        &self,
        to: matchbox_socket::PeerId,
        signals: &[PeerSignal],
    ) -> Result<(), Error> {
        let to = PeerId::parse(&to.to_string()).map_err(|invalid| invalid.in_field("to"))?;
        let message = self.seal(&to, signals)?;
        let sent = self.client.mail(&MailRequest { to, lease_token: self.token.clone(), message }).await;
        *self.last_sent.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.has_sent.notify_one();
        match sent {
            Err(error) if error.code() != Some(Code::RepeatedMessage) => Err(error),
            // An earlier attempt has succeeded, and its response was lost.
            _ => Ok(()),
        }
    }

    pub(crate) fn seal(&self, to: &PeerId, signals: &[PeerSignal]) -> Result<SignedMessage, Error> {
        // Serializing texts can't fail.
        let sdp = serde_json::to_string(signals).unwrap_or_default();
        let sid = Uuid::new_v4().simple().to_string();
        let terms = MessageTerms { sid: &sid, issued_at: self.now(), kind: KIND, sdp: &sdp };
        Ok(SignedMessage::sign(&self.me, to, &terms, &self.key)?)
    }

    /// Verifies a message. `None` if its signature is invalid, if its time differs too much from
    /// now, if it is a repetition, if it is for another peer, if it is not from the peer that sent
    /// it to the mailbox, or if its sender does not use this crate.
    pub(crate) fn open(&self, mail: &Mail) -> Option<Letter> {
        let message = SignedMessage::parse(&mail.message).ok()?;
        let is_ours = message.kind() == KIND && *message.to() == self.me && *message.from() == mail.from;
        if !is_ours || message.issued_at().abs_diff(self.now()) > MAX_AGE {
            return None;
        }
        let key = message.verify().ok()?;
        let signals = serde_json::from_str(&message.sdp()).ok()?;
        let from = id_of(&mail.from)?;
        self.is_new(message.from(), key, message.sid()).then_some(Letter { from, key, signals })
    }

    fn is_new(&self, from: &PeerId, key: PublicKey, sid: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| at.elapsed() < MEMORY);
        seen.insert((from.clone(), key, sid.to_owned()), Instant::now()).is_none()
    }

    /// Requests mail until `mail` is closed. Each request acknowledges the messages of the previous
    /// one.
    pub(crate) async fn receive(
        self: Arc<Self>,
        mail: UnboundedSender<Mail>,
    ) -> Option<matchbox_socket::PeerId> {
        let mut acknowledge = Vec::new();
        while !mail.is_closed() {
            let request = MailboxRequest {
                peer_id: self.me.clone(),
                lease_token: self.token.clone(),
                acknowledge: acknowledge.clone(),
                wait_seconds: MailboxRequest::MAX_WAIT_SECONDS,
            };
            let requested_at = Instant::now();
            match self.client.mailbox(&request).await {
                Ok(response) => {
                    let next = Duration::from_secs(response.next_poll_seconds.into());
                    let is_empty = response.mail.is_empty();
                    acknowledge = response.mail.iter().map(|mail| mail.id).collect();
                    for message in response.mail {
                        let _ = mail.send(message);
                    }
                    if is_empty && !next.is_zero() && !self.is_expecting() {
                        let _ = timeout(IDLE, self.has_sent.notified()).await;
                    } else if is_empty && requested_at.elapsed() < AFTER_FAILURE {
                        // The service did not wait: it does not let requests wait for mail, or it
                        // is stopping.
                        sleep(next.max(AFTER_FAILURE)).await;
                    } else {
                        sleep(next).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no mail could be received");
                    sleep(AFTER_FAILURE).await;
                }
            }
        }
        None
    }

    fn is_expecting(&self) -> bool {
        let last_sent = self.last_sent.lock().unwrap_or_else(PoisonError::into_inner);
        last_sent.is_some_and(|at| at.elapsed() < EXPECTING)
    }

    /// The time of the service, in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        local_time().saturating_add_signed(self.clock_offset)
    }
}

/// The matchbox id of the peer with this name. `None` if the name is not the canonical text of an
/// id. Other texts of the same id, such as the one in upper case, are different names for the
/// service, which any client can register.
pub(crate) fn id_of(name: &PeerId) -> Option<matchbox_socket::PeerId> {
    let id = matchbox_socket::PeerId(Uuid::parse_str(name.as_str()).ok()?);
    (id.to_string() == name.as_str()).then_some(id)
}

fn local_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Splits signals into groups that each fit into one message. A signal that is too long for any
/// message gets a group of its own. Without signals, there is one empty group.
pub(crate) fn batches(signals: Vec<PeerSignal>) -> Vec<Vec<PeerSignal>> {
    let mut groups = vec![Vec::new()];
    let mut length = 0;
    for signal in signals {
        let json = serde_json::to_string(&signal).unwrap_or_default();
        // The payload of the message contains the signals as a JSON string, in which quotes are
        // escaped.
        let own = serde_json::to_string(&json).unwrap_or_default().len();
        if length + own > MAX_SIGNALS && length > 0 {
            groups.push(Vec::new());
            length = 0;
        }
        length += own;
        if let Some(group) = groups.last_mut() {
            group.push(signal);
        }
    }
    groups
}
