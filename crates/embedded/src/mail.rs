//! The mailboxes of the peers, in memory. A mailbox contains the messages that wait for a peer, and
//! remembers the sessions of recent messages ([`Mailbox`]).

mod waiter;

use std::collections::{BTreeSet, HashMap};

use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use aurora_discovery_registry::{Delivery, Letter, Mailbox, Source};
use parking_lot::Mutex;

pub(crate) use waiter::{Waiter, Waiters};

/// The memory for all messages and sessions, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// The part of this memory that the messages and sessions of one source may use. It is enough for
/// messages of a thousand bytes to about 700 receivers. Loopback is exempt, because a proxy on the
/// same machine may forward the requests of all clients.
const MAX_SOURCE_BYTES: usize = MAX_BYTES / 64;

/// All mailboxes.
#[derive(Default)]
pub(crate) struct MailStore {
    state: Mutex<State>,
    waiters: Waiters,
}

#[derive(Default)]
struct State {
    /// The mailboxes that have a message or remember a session.
    mailboxes: HashMap<PeerId, Mailbox>,
    /// When the next message or session of each mailbox expires.
    ends: BTreeSet<(Timestamp, PeerId)>,
    /// The memory that each source uses in all mailboxes, in bytes.
    by_source: HashMap<Source, usize>,
    figures: MailFigures,
}

/// The number of waiting messages, the bytes that all messages and sessions use, and counts of what
/// happened to messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MailFigures {
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
    pub(crate) delivered: u64,
    pub(crate) acknowledged: u64,
    pub(crate) expired: u64,
}

impl MailStore {
    /// Puts a message into the mailbox of `to` if the limits permit it, and then wakes the requests
    /// that wait for messages to `to`.
    pub(crate) fn deliver(&self, to: &PeerId, letter: Letter, now: Timestamp) -> Delivery {
        let delivery = self.state.lock().deliver(to, letter, now);
        if delivery == Delivery::Delivered {
            self.waiters.wake(to);
        }
        delivery
    }

    /// Deletes the acknowledged messages of a mailbox. Returns those of the remaining messages that
    /// have not expired.
    pub(crate) fn collect(&self, peer: &PeerId, acknowledged: &[MailId], now: Timestamp) -> Vec<Letter> {
        let mut state = self.state.lock();
        if !acknowledged.is_empty() && state.mailboxes.contains_key(peer) {
            let count = state.change(peer, |mailbox| mailbox.acknowledge(acknowledged));
            state.figures.acknowledged += count as u64;
        }
        state.mailboxes.get(peer).into_iter().flat_map(|mailbox| mailbox.letters(now)).cloned().collect()
    }

    /// Deletes expired messages and sessions in at most `mailboxes` mailboxes. Returns whether more
    /// mailboxes may have some.
    pub(crate) fn forget(&self, now: Timestamp, mailboxes: usize) -> bool {
        self.state.lock().forget(now, mailboxes)
    }

    /// Wakes the requests that wait for messages to `to`, because a message has arrived in the
    /// shared store of a replica.
    pub(crate) fn wake(&self, to: &PeerId) {
        self.waiters.wake(to);
    }

    /// A signal for messages to `peer`.
    pub(crate) fn wait(&self, peer: &PeerId) -> Waiter {
        self.waiters.add(peer)
    }

    pub(crate) fn figures(&self) -> MailFigures {
        self.state.lock().figures
    }
}

impl State {
    fn deliver(&mut self, to: &PeerId, letter: Letter, now: Timestamp) -> Delivery {
        // Expired messages must not count against the limits below.
        while self.forget(now, usize::MAX) {}
        let (source, bytes) = (letter.source, letter.bytes() + Mailbox::SEEN_BYTES);
        if self.figures.bytes + bytes > MAX_BYTES {
            return Delivery::StoreFull;
        }
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        if !source.is_loopback() && of_source + bytes > MAX_SOURCE_BYTES {
            return Delivery::SourceFull;
        }
        let delivery = self.change(to, |mailbox| mailbox.deliver(letter, now));
        self.figures.delivered += u64::from(delivery == Delivery::Delivered);
        delivery
    }

    fn forget(&mut self, now: Timestamp, mailboxes: usize) -> bool {
        for _ in 0..mailboxes {
            let Some((end, peer)) = self.ends.first() else { return false };
            if *end > now {
                return false;
            }
            let peer = peer.clone();
            let expired = self.change(&peer, |mailbox| mailbox.forget(now));
            self.figures.expired += expired as u64;
        }
        true
    }

    /// Changes a mailbox, and updates the sums over all mailboxes.
    fn change<T>(&mut self, peer: &PeerId, change: impl FnOnce(&mut Mailbox) -> T) -> T {
        let mut mailbox = self.take(peer).unwrap_or_default();
        let result = change(&mut mailbox);
        self.put(peer, mailbox);
        result
    }

    fn take(&mut self, peer: &PeerId) -> Option<Mailbox> {
        let (peer, mailbox) = self.mailboxes.remove_entry(peer)?;
        for (source, bytes) in mailbox.shares() {
            self.figures.bytes -= bytes;
            if let Some(used) = self.by_source.get_mut(&source) {
                *used -= bytes;
                // A source that uses no memory is removed, so that the map does not grow with every
                // client.
                if *used == 0 {
                    self.by_source.remove(&source);
                }
            }
        }
        self.figures.waiting -= mailbox.waiting();
        if let Some(end) = mailbox.next_end() {
            self.ends.remove(&(end, peer));
        }
        Some(mailbox)
    }

    fn put(&mut self, peer: &PeerId, mailbox: Mailbox) {
        let Some(end) = mailbox.next_end() else { return };
        for (source, bytes) in mailbox.shares() {
            self.figures.bytes += bytes;
            *self.by_source.entry(source).or_default() += bytes;
        }
        self.figures.waiting += mailbox.waiting();
        self.ends.insert((end, peer.clone()));
        self.mailboxes.insert(peer.clone(), mailbox);
    }
}

#[cfg(test)]
mod tests {
    use aurora_discovery_registry::SidHash;

    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::parse(name).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_000 + seconds)
    }

    fn letter(number: u64, from: &str, source: &str, at: Timestamp) -> Letter {
        let from = peer(from);
        Letter {
            id: MailId::new(number),
            sid: SidHash::of(&from, &number.to_string()),
            from,
            source: Source::of(source.parse().unwrap()),
            message: "x".repeat(4_000).into(),
            sent_at: at,
        }
    }

    /// Sends messages to different receivers until one is refused. Returns the number of messages
    /// that were accepted.
    fn fill(store: &MailStore, from: &str, source: &str, expected: Delivery) -> u64 {
        for number in 0.. {
            let delivery =
                store.deliver(&peer(&format!("{from}-{number}")), letter(number, from, source, at(0)), at(0));
            if delivery != Delivery::Delivered {
                assert_eq!(delivery, expected);
                return number;
            }
        }
        unreachable!("a number is refused")
    }

    #[test]
    fn one_source_uses_a_64th_of_the_memory_and_leaves_the_rest_to_others() {
        let store = MailStore::default();
        let first = fill(&store, "a", "203.0.113.1", Delivery::SourceFull);
        assert!((200..250).contains(&first), "{first} messages of 4.5 kB in a mebibyte");
        assert_eq!(fill(&store, "b", "203.0.113.2", Delivery::SourceFull), first);
        let rest = fill(&store, "c", "127.0.0.1", Delivery::StoreFull);
        assert!(rest > 60 * first, "loopback has only the total limit: {rest}");
        assert!(store.figures().bytes <= MAX_BYTES);
        assert_eq!(store.figures().waiting as u64, 2 * first + rest);
    }

    #[test]
    fn memory_is_given_back_when_messages_and_their_sessions_end() {
        let store = MailStore::default();
        let count = fill(&store, "a", "203.0.113.1", Delivery::SourceFull);
        let again = |now| store.deliver(&peer("b"), letter(0, "a", "203.0.113.1", now), now);
        assert_eq!(again(at(59)), Delivery::SourceFull);
        assert_eq!(again(at(60)), Delivery::Delivered);
        let figures = store.figures();
        assert_eq!((figures.waiting, figures.expired, figures.delivered), (1, count, count + 1));
        assert!(store.forget(at(180), 1), "one of several mailboxes");
        while store.forget(at(180), 1) {}
        let state = store.state.lock();
        assert_eq!(state.figures.bytes, 0);
        assert!(state.mailboxes.is_empty() && state.ends.is_empty() && state.by_source.is_empty());
    }

    #[test]
    fn an_acknowledged_message_gives_its_memory_back() {
        let store = MailStore::default();
        let to = peer("b");
        store.deliver(&to, letter(1, "a", "203.0.113.1", at(0)), at(0));
        assert_eq!(store.collect(&to, &[], at(1)).len(), 1);
        assert_eq!(store.collect(&to, &[MailId::new(2), MailId::new(1)], at(1)), []);
        let figures = store.figures();
        assert_eq!((figures.bytes, figures.waiting, figures.acknowledged), (Mailbox::SEEN_BYTES, 0, 1));
        assert_eq!(store.collect(&peer("c"), &[MailId::new(1)], at(1)), []);
    }
}
