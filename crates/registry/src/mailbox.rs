//! The mailbox of one peer: the messages that wait for it, and the rules that bound them.
//!
//! A store that supports messages keeps one [`Mailbox`] for each receiver, and changes it only by
//! the methods of that type.
//!
//! A *session* is one attempt of two peers to connect: the offer of one peer and the answer of the
//! other have the same session id (`sid`). A mailbox remembers the sessions of the messages that it
//! has accepted, so that it accepts each message only once.

mod text;

use std::collections::VecDeque;

use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use sha2::{Digest, Sha256};

use crate::Source;

/// The maximum number of messages in a mailbox.
const MAX_LETTERS: usize = 8;
/// The maximum size of all messages in a mailbox, in bytes: enough for four messages of maximum
/// size.
const MAX_BYTES: usize = 16 * 1024;
/// The maximum number of messages of one sender in a mailbox. Two peers may offer a connection to
/// each other at the same time. Each then sends its own offer and the answer to the other's.
const MAX_OF_SENDER: usize = 2;
/// The maximum number of messages of one source in a mailbox, even if the source has several peers.
/// No source alone can therefore keep a mailbox full. Loopback is exempt.
const MAX_OF_SOURCE: usize = 4;
/// The maximum size of the messages of one source in a mailbox, in bytes.
const MAX_BYTES_OF_SOURCE: usize = MAX_BYTES / 2;
/// The maximum number of sessions that a mailbox remembers. If a receiver gets messages of more
/// sessions within two minutes, the receiver itself has to recognize repeated messages.
const MAX_SEEN: usize = 64;

/// A message that waits for its receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The id with which the receiver acknowledges the message.
    pub id: MailId,
    /// The sender.
    pub from: PeerId,
    /// The source of the request that sent it.
    pub source: Source,
    /// The hash of the sender and of the session that the message belongs to.
    pub sid: SidHash,
    /// The message, a compact JWS.
    pub message: Box<str>,
    /// When it was sent.
    pub sent_at: Timestamp,
}

/// The hash of a sender and one of its sessions. A mailbox accepts one message for each such hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidHash(u64);

/// The result of delivering a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The message waits for its receiver.
    Delivered,
    /// The sender has sent the receiver a message of this session before.
    Repeated,
    /// The mailbox has no room for the message, or for another message of its sender.
    MailboxFull,
    /// The source of the sender has its maximum of messages in this mailbox, or in all mailboxes
    /// together.
    SourceFull,
    /// The store has no room for messages.
    StoreFull,
}

/// The messages that wait for one receiver, in the order in which they were sent, and the sessions
/// of the messages that it accepted recently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    letters: VecDeque<Letter>,
    seen: VecDeque<Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    sid: SidHash,
    source: Source,
    at: Timestamp,
}

impl SidHash {
    /// The hash of a sender and a session.
    pub fn of(from: &PeerId, sid: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(from.as_str());
        // An id contains no space, so the space separates the two texts unambiguously.
        hash.update(" ");
        hash.update(sid);
        let mut start = [0; 8];
        start.copy_from_slice(&hash.finalize()[..8]);
        Self(u64::from_be_bytes(start))
    }
}

impl Letter {
    /// How long a message waits, in milliseconds. By then, a peer that has offered a connection has
    /// given up, so the receiver need not answer any more.
    pub const LIFE_MILLIS: u64 = 60_000;

    /// The memory that the message takes while it waits, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.from.as_str().len() + self.message.len()
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.millis_since(self.sent_at) >= Self::LIFE_MILLIS
    }
}

impl Mailbox {
    /// How long a session is remembered, in milliseconds.
    pub const SEEN_MILLIS: u64 = 120_000;
    /// The memory that a store counts for each remembered session, in bytes. It includes the memory
    /// of a mailbox without messages, because a mailbox exists only while it remembers a session.
    pub const SEEN_BYTES: usize = 512;

    /// Adds a message, if the bounds permit it.
    pub fn deliver(&mut self, letter: Letter, now: Timestamp) -> Delivery {
        self.forget(now);
        if self.seen.iter().any(|seen| seen.sid == letter.sid) {
            return Delivery::Repeated;
        }
        // The number and the total size of the messages for which `is_like` holds, including the
        // new one.
        let with_letter = |is_like: &dyn Fn(&Letter) -> bool| {
            let like = self.letters.iter().filter(|one| is_like(one)).chain([&letter]);
            like.fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.message.len()))
        };
        let (count, bytes) = with_letter(&|_| true);
        let (of_sender, _) = with_letter(&|one| one.from == letter.from);
        if count > MAX_LETTERS || bytes > MAX_BYTES || of_sender > MAX_OF_SENDER {
            return Delivery::MailboxFull;
        }
        let (of_source, source_bytes) = with_letter(&|one| one.source == letter.source);
        if !letter.source.is_loopback() && (of_source > MAX_OF_SOURCE || source_bytes > MAX_BYTES_OF_SOURCE) {
            return Delivery::SourceFull;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { sid: letter.sid, source: letter.source, at: letter.sent_at });
        self.letters.push_back(letter);
        Delivery::Delivered
    }

    /// Deletes the messages with these ids. Returns their number.
    pub fn acknowledge(&mut self, ids: &[MailId]) -> usize {
        let before = self.letters.len();
        self.letters.retain(|letter| !ids.contains(&letter.id));
        before - self.letters.len()
    }

    /// The messages that wait, in the order in which they were sent.
    pub fn letters(&self, now: Timestamp) -> impl Iterator<Item = &Letter> {
        self.letters.iter().filter(move |letter| !letter.is_over(now))
    }

    /// Deletes expired messages and sessions. Returns the number of messages that were deleted.
    pub fn forget(&mut self, now: Timestamp) -> usize {
        let before = self.letters.len();
        self.letters.retain(|letter| !letter.is_over(now));
        self.seen.retain(|seen| now.millis_since(seen.at) < Self::SEEN_MILLIS);
        before - self.letters.len()
    }

    /// The number of messages in the mailbox, including expired ones that are not deleted yet.
    pub fn waiting(&self) -> usize {
        self.letters.len()
    }

    /// When the next message or session expires. `None` if the mailbox is empty and remembers no
    /// session.
    pub fn next_end(&self) -> Option<Timestamp> {
        let letters = self.letters.iter().map(|letter| letter.sent_at.plus_millis(Letter::LIFE_MILLIS));
        let seen = self.seen.iter().map(|seen| seen.at.plus_millis(Self::SEEN_MILLIS));
        letters.chain(seen).min()
    }

    /// When everything in the mailbox has expired. `None` if it is empty and remembers no session.
    pub fn last_end(&self) -> Option<Timestamp> {
        // Only sessions are considered, because a session is remembered for longer than its message
        // waits.
        self.seen.iter().map(|seen| seen.at.plus_millis(Self::SEEN_MILLIS)).max()
    }

    /// The memory of each message and session in bytes, with its source. A source may occur several
    /// times.
    pub fn shares(&self) -> impl Iterator<Item = (Source, usize)> {
        let letters = self.letters.iter().map(|letter| (letter.source, letter.bytes()));
        letters.chain(self.seen.iter().map(|seen| (seen.source, Self::SEEN_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(number: u64, from: &str, at: u64) -> Letter {
        let from = PeerId::parse(from).unwrap();
        Letter {
            id: MailId::new(number),
            sid: SidHash::of(&from, &number.to_string()),
            from,
            source: Source::of("127.0.0.1".parse().unwrap()),
            message: "m".into(),
            sent_at: Timestamp::from_secs(at),
        }
    }

    #[test]
    fn a_session_is_of_one_sender() {
        let hash = |from: &str, sid| SidHash::of(&PeerId::parse(from).unwrap(), sid);
        assert_eq!(hash("a", "bc"), hash("a", "bc"));
        assert!(hash("a", "bc") != hash("ab", "c") && hash("a", "bc") != hash("b", "bc"));
    }

    #[test]
    fn one_source_fills_half_of_a_mailbox_by_number_or_by_size() {
        let now = Timestamp::from_secs(0);
        let from = |source: &str, number: u64, size: usize| Letter {
            source: Source::of(source.parse().unwrap()),
            message: "m".repeat(size).into(),
            ..letter(number, &format!("p{number}"), 0)
        };
        for (size, room) in [(1_000, 4), (4_096, 2)] {
            let mut mailbox = Mailbox::default();
            let deliveries =
                [("203.0.113.1", 0, room), ("203.0.113.2", 10, room)].map(|(source, first, room)| {
                    for number in first..first + room {
                        assert_eq!(mailbox.deliver(from(source, number, size), now), Delivery::Delivered);
                    }
                    mailbox.deliver(from(source, first + room, size), now)
                });
            assert_eq!(deliveries, [Delivery::SourceFull, Delivery::MailboxFull], "{size} bytes each");
        }
    }

    #[test]
    fn a_mailbox_remembers_a_bounded_number_of_sessions() {
        let mut mailbox = Mailbox::default();
        let now = Timestamp::from_secs(0);
        for number in 0..=MAX_SEEN as u64 {
            assert_eq!(mailbox.deliver(letter(number, "a", 0), now), Delivery::Delivered);
            assert_eq!(mailbox.acknowledge(&[MailId::new(number)]), 1);
        }
        assert_eq!(mailbox.seen.len(), MAX_SEEN);
        assert_eq!(mailbox.deliver(letter(1, "a", 0), now), Delivery::Repeated);
        assert_eq!(mailbox.deliver(letter(0, "a", 0), now), Delivery::Delivered, "forgotten");
    }

    #[test]
    fn the_next_end_is_that_of_a_message_and_then_of_its_session() {
        let mut mailbox = Mailbox::default();
        assert_eq!(mailbox.next_end(), None);
        mailbox.deliver(letter(1, "a", 10), Timestamp::from_secs(10));
        assert_eq!(mailbox.shares().count(), 2);
        for (end, shares) in [(70, 1), (130, 0)] {
            let end = Timestamp::from_secs(end);
            assert_eq!(mailbox.next_end(), Some(end));
            mailbox.forget(end.minus_millis(1));
            assert_eq!(
                (mailbox.next_end(), mailbox.last_end()),
                (Some(end), Some(Timestamp::from_secs(130)))
            );
            mailbox.forget(end);
            assert_eq!(mailbox.shares().count(), shares);
        }
        assert_eq!((mailbox.last_end(), &mailbox), (None, &Mailbox::default()));
    }
}
