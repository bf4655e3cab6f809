//! Mailboxes: one key for each receiver, which the server deletes once all in it is too old.
//!
//! A change reads the mailbox, decides by [`Mailbox`], and writes it if no other process has changed it
//! meanwhile. The script also notes the receiver of a message in a stream, which the followers of all
//! processes read, so that a request that waits at another process is woken.

use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use aurora_discovery_registry::{Delivery, Letter, Mailbox, StoreError};
use parking_lot::Mutex;
use redis::RedisResult;
use redis::aio::MultiplexedConnection;

use crate::entry::Nonce;
use crate::failure::unavailable;
use crate::shared::Shared;

const SCRIPT: &str = include_str!("script/change_mailbox.lua");
/// The arrivals that the stream keeps. A follower that misses one costs a waiting request its time.
const ARRIVALS: u32 = 1_024;
/// How often a change is decided again because another one of the mailbox came first. A mailbox takes
/// eight messages, so that more of them rarely compete.
const MAX_ATTEMPTS: u32 = 32;
/// The length of a nonce in front of a mailbox, in bytes.
const NONCE_LEN: usize = 16;

/// The connection for mailboxes, which all requests share.
#[derive(Default)]
pub(crate) struct MailConnection(Mutex<Option<MultiplexedConnection>>);

/// A mailbox as it was read, with its nonce, which is empty if there is none.
#[derive(Default)]
struct StoredMailbox {
    nonce: String,
    mailbox: Mailbox,
}

/// Puts a message into a mailbox.
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

/// Deletes messages from a mailbox, and returns the others.
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

/// Changes a mailbox. `change` returns its result, and whether the mailbox is to be written.
async fn change<T: Send>(
    shared: &Shared,
    peer: &PeerId,
    is_arrival: bool,
    now: Timestamp,
    change: impl Fn(&mut Mailbox) -> (T, bool) + Send,
) -> Result<T, StoreError> {
    let key = shared.keys.mailbox(peer);
    let mut connection = shared.mail.connect(shared).await.map_err(|error| shared.mail.failed(&error))?;
    for _ in 0..MAX_ATTEMPTS {
        let read: RedisResult<Option<String>> =
            redis::cmd("GET").arg(&key).query_async(&mut connection).await;
        let stored = read.map_err(|error| shared.mail.failed(&error))?;
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
        if written.map_err(|error| shared.mail.failed(&error))? == 1 {
            return Ok(result);
        }
    }
    Err(unavailable("the mailbox is being changed by too many concurrent requests"))
}

fn parse(shared: &Shared, stored: Option<String>) -> StoredMailbox {
    let Some(stored) = stored else { return StoredMailbox::default() };
    let Some((nonce, text)) = stored.split_at_checked(NONCE_LEN) else {
        shared.counters.unreadable.add(1);
        return StoredMailbox { nonce: stored, mailbox: Mailbox::default() };
    };
    let mailbox = Mailbox::parse(text).unwrap_or_else(|| {
        // Its messages are lost in any case.
        shared.counters.unreadable.add(1);
        Mailbox::default()
    });
    StoredMailbox { nonce: nonce.to_owned(), mailbox }
}

impl MailConnection {
    async fn connect(&self, shared: &Shared) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &*self.0.lock() {
            return Ok(connection.clone());
        }
        let connection = shared.connector.connect(shared.options.response_timeout).await?;
        Ok(self.0.lock().insert(connection).clone())
    }

    /// The next request connects again.
    fn failed(&self, error: &redis::RedisError) -> StoreError {
        *self.0.lock() = None;
        unavailable(error.to_string())
    }
}
