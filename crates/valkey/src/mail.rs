//! Mailboxes. The mailbox of each receiver has a key of its own. The server deletes the key when
//! all messages in the mailbox, and all sessions that it remembers, have expired.
//!
//! To change a mailbox, a process reads it, decides with [`Mailbox`], and writes it with a script
//! if no other process has changed it since. If a message has arrived, the script also appends its
//! receiver to a stream. The followers of all processes read that stream, and wake the requests
//! that wait for messages to this receiver.

use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use aurora_discovery_registry::{Delivery, Letter, Mailbox, StoreError};
use redis::RedisResult;

use crate::entry::Nonce;
use crate::failure::unavailable;
use crate::shared::Shared;

const SCRIPT: &str = include_str!("script/change_mailbox.lua");
/// The number of arrivals that the stream keeps, approximately. A follower that falls further
/// behind misses arrivals, so it does not wake the requests that wait for these messages. Such a
/// request finds its message when its waiting time ends.
const ARRIVALS: u32 = 1_024;
/// Maximum number of attempts of a change. An attempt fails if another process changes the mailbox
/// at the same time. A mailbox holds only eight messages, so more concurrent changes than this are
/// rare.
const MAX_ATTEMPTS: u32 = 32;
/// The length of the nonce at the start of a stored mailbox, in bytes.
const NONCE_LEN: usize = 16;

/// A mailbox as it was read. Each write of a mailbox gives it a new random nonce, by which the
/// script detects other writes.
#[derive(Default)]
struct StoredMailbox {
    /// Empty if there was no mailbox.
    nonce: String,
    mailbox: Mailbox,
}

/// Puts a message into the mailbox of the peer `to`.
pub(crate) async fn deliver(
    shared: &Shared,
    to: &PeerId,
    letter: &Letter,
    now: Timestamp,
) -> Result<Delivery, StoreError> {
    let deliver = |mailbox: &mut Mailbox| {
        let delivery = mailbox.deliver(letter.clone(), now);
        (delivery, delivery == Delivery::Delivered)
    };
    let delivery = change(shared, to, true, now, deliver).await?;
    if delivery == Delivery::Delivered {
        shared.replica.mail_arrived(to);
    }
    Ok(delivery)
}

/// Deletes the acknowledged messages from the mailbox of a peer, and returns the others.
pub(crate) async fn collect(
    shared: &Shared,
    peer: &PeerId,
    acknowledged: &[MailId],
    now: Timestamp,
) -> Result<Vec<Letter>, StoreError> {
    let collect = |mailbox: &mut Mailbox| {
        let deleted = mailbox.acknowledge(acknowledged);
        (mailbox.letters(now).cloned().collect(), deleted > 0)
    };
    change(shared, peer, false, now, collect).await
}

/// Changes the mailbox of a peer. `change` returns the result of the operation, and whether it has
/// changed the mailbox. It is called again if another process has changed the mailbox in the
/// meantime. `is_arrival` says whether the change is the arrival of a message.
async fn change<T: Send>(
    shared: &Shared,
    peer: &PeerId,
    is_arrival: bool,
    now: Timestamp,
    change: impl Fn(&mut Mailbox) -> (T, bool) + Send,
) -> Result<T, StoreError> {
    let key = shared.keys.mailbox(peer);
    let mut connection =
        shared.connection.connect(shared).await.map_err(|error| shared.connection.failed(&error))?;
    for _ in 0..MAX_ATTEMPTS {
        let read: RedisResult<Option<String>> =
            redis::cmd("GET").arg(&key).query_async(&mut connection).await;
        let stored = read.map_err(|error| shared.connection.failed(&error))?;
        let StoredMailbox { nonce, mut mailbox } = parse(shared, stored);
        let (result, has_changed) = change(&mut mailbox);
        if !has_changed {
            return Ok(result);
        }
        let millis = mailbox.last_end().map_or(1, |end| end.millis_since(now).max(1));
        let mut command = redis::cmd("EVAL");
        command.arg(SCRIPT).arg(2).arg(&key).arg(&shared.keys.arrivals);
        command.arg(nonce).arg(Nonce::random().to_string()).arg(mailbox.to_text()).arg(millis);
        command.arg(if is_arrival { peer.as_str() } else { "" }).arg(ARRIVALS);
        let written: RedisResult<u8> = command.query_async(&mut connection).await;
        if written.map_err(|error| shared.connection.failed(&error))? == 1 {
            return Ok(result);
        }
    }
    Err(unavailable("the mailbox is being changed by too many concurrent requests"))
}

/// Parses a stored mailbox. One that can't be parsed counts as empty, so that the next message
/// replaces it.
fn parse(shared: &Shared, stored: Option<String>) -> StoredMailbox {
    let Some(stored) = stored else { return StoredMailbox::default() };
    let Some((nonce, text)) = stored.split_at_checked(NONCE_LEN) else {
        shared.counters.unreadable.add(1);
        return StoredMailbox { nonce: stored, mailbox: Mailbox::default() };
    };
    let mailbox = Mailbox::parse(text).unwrap_or_else(|| {
        shared.counters.unreadable.add(1);
        Mailbox::default()
    });
    StoredMailbox { nonce: nonce.to_owned(), mailbox }
}
