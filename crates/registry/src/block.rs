//! Blocks: the peers, keys and sources that an operator has blocked. The registry refuses their
//! registrations, heartbeats and deregistrations, and their requests for mail.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use aurora_discovery_protocol::{BlockReason, PeerId, PublicKey, SourcePrefix, Subject, Timestamp};

use crate::Source;

/// A subject that an operator has blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The blocked subject.
    pub subject: Subject,
    /// The reason for the block.
    pub reason: BlockReason,
    /// The end of the block, on the same clock as the times in responses.
    pub ends_at: Timestamp,
    /// The name of the API key that set the block. It contains no white space.
    pub by: String,
}

impl Block {
    /// The block as one line of the stored list. Spaces separate the fields. The reason comes last,
    /// because it is the only field that may contain spaces.
    fn line(&self) -> String {
        let Self { subject, reason, ends_at, by } = self;
        format!("{} {} {subject} {by} {}", ends_at.as_millis(), subject.kind(), reason.as_str())
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(5, ' ');
        let ends_at = Timestamp::from_millis(words.next()?.parse().ok()?);
        let subject = Subject::parse(words.next()?, words.next()?).ok()?;
        let by = words.next()?.to_owned();
        Some(Self { subject, reason: BlockReason::parse(words.next()?).ok()?, ends_at, by })
    }
}

/// Whether a peer belongs to `subject`. `key` is the key that signed the registration of the peer,
/// and `source` is the source of the registration. A peer whose name is a key belongs to that key.
pub fn is_subject(subject: &Subject, peer: &PeerId, key: Option<&PublicKey>, source: Source) -> bool {
    match subject {
        Subject::Peer(id) => id == peer,
        Subject::Key(blocked) => key == Some(blocked) || PublicKey::of_name(peer).as_ref() == Some(blocked),
        Subject::Source(prefix) => has_source(prefix, source),
    }
}

fn has_source(prefix: &SourcePrefix, source: Source) -> bool {
    prefix.contains(match source {
        Source::V4(v4) => IpAddr::V4(v4),
        Source::V6(upper) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(upper) << 64)),
    })
}

/// The blocks of a service, with maps to look them up.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    all: Vec<Block>,
    peers: HashMap<PeerId, Timestamp>,
    keys: HashMap<PublicKey, Timestamp>,
    sources: Vec<(SourcePrefix, Timestamp)>,
}

impl Blocks {
    /// Reads the blocks from a text that [`Blocks::to_text`] wrote. Lines that this release can't
    /// read, because another release wrote them, are skipped.
    pub(crate) fn parse(text: &str) -> Self {
        Self::of(text.lines().filter_map(Block::parse).collect())
    }

    fn of(all: Vec<Block>) -> Self {
        let mut blocks = Self::default();
        for Block { subject, ends_at, .. } in &all {
            match subject {
                Subject::Peer(peer) => drop(blocks.peers.insert(peer.clone(), *ends_at)),
                Subject::Key(key) => drop(blocks.keys.insert(*key, *ends_at)),
                Subject::Source(prefix) => blocks.sources.push((*prefix, *ends_at)),
            }
        }
        Self { all, ..blocks }
    }

    /// The stored list: one line for each block.
    pub(crate) fn to_text(&self) -> String {
        self.all.iter().fold(String::new(), |mut text, block| {
            // Writing to a string never fails.
            let _ = writeln!(text, "{}", block.line());
            text
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any key is blocked.
    pub(crate) fn has_keys(&self, now: Timestamp) -> bool {
        self.keys.values().any(|ends_at| now < *ends_at)
    }

    /// The blocks that are in force, in the order in which they end.
    pub(crate) fn in_force(&self, now: Timestamp) -> Vec<Block> {
        let mut blocks: Vec<_> = self.all.iter().filter(|block| now < block.ends_at).cloned().collect();
        blocks.sort_by(|one, two| (one.ends_at, &one.subject).cmp(&(two.ends_at, &two.subject)));
        blocks
    }

    /// The blocks in force, after the block of `subject` is replaced by `block`, or removed if
    /// `block` is `None`.
    pub(crate) fn changed(&self, subject: &Subject, block: Option<Block>, now: Timestamp) -> Self {
        let others = self.in_force(now).into_iter().filter(|other| other.subject != *subject);
        Self::of(others.chain(block).collect())
    }

    /// When the block ends that applies to a request about `peer`. `None` if none applies. The
    /// peer, its key or the source of the request may be blocked. If several blocks apply, the
    /// latest end counts.
    pub(crate) fn end_of(
        &self,
        peer: &PeerId,
        key: Option<&PublicKey>,
        source: Source,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let of_peer = self.peers.get(peer);
        let name = if self.keys.is_empty() { None } else { PublicKey::of_name(peer) };
        let of_key = [key, name.as_ref()].into_iter().flatten().filter_map(|key| self.keys.get(key));
        let of_source =
            self.sources.iter().filter(|(prefix, _)| has_source(prefix, source)).map(|(_, ends_at)| ends_at);
        of_peer.into_iter().chain(of_key).chain(of_source).filter(|ends_at| now < **ends_at).max().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    fn block(kind: &str, text: &str, ends_at: u64) -> Block {
        let subject = Subject::parse(kind, text).unwrap();
        let reason = BlockReason::parse("two words").unwrap();
        Block { subject, reason, ends_at: at(ends_at), by: "ops".to_owned() }
    }

    fn blocks() -> Blocks {
        Blocks::of(vec![
            block("peer_id", "p", 10),
            block("key", KEY, 20),
            block("source", "203.0.113.0/24", 30),
            block("source", "2001:db8::/48", 40),
        ])
    }

    fn peer(id: &str) -> PeerId {
        PeerId::parse(id).unwrap()
    }

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    #[test]
    fn a_request_is_blocked_by_its_peer_its_key_and_its_source() {
        let key = PublicKey::parse(KEY).unwrap();
        let end = |id: &str, key: Option<&PublicKey>, from: &str, now| {
            blocks().end_of(&peer(id), key, source(from), at(now))
        };
        assert_eq!(end("q", None, "198.51.100.1", 0), None);
        assert_eq!(end("p", None, "198.51.100.1", 9), Some(at(10)));
        assert_eq!(end("p", None, "198.51.100.1", 10), None, "the block has ended");
        assert_eq!(end("q", Some(&key), "198.51.100.1", 0), Some(at(20)));
        assert_eq!(end(KEY, None, "198.51.100.1", 0), Some(at(20)), "the name of the key");
        assert_eq!(end("q", None, "203.0.113.9", 0), Some(at(30)));
        assert_eq!(end("q", None, "2001:db8:0:7::1", 0), Some(at(40)));
        assert_eq!(end("p", Some(&key), "203.0.113.9", 0), Some(at(30)), "the last end");
    }

    #[test]
    fn the_text_of_blocks_can_be_read_again() {
        let text = blocks().to_text();
        assert_eq!(Blocks::parse(&text).all, blocks().all);
        let damaged = format!("\n7 peer_id\nx peer_id p ops r\n9 planet mars ops r\n{text}");
        assert_eq!(Blocks::parse(&damaged).all, blocks().all);
        assert!(Blocks::parse("").is_empty());
    }

    #[test]
    fn a_change_replaces_the_block_of_its_subject_and_drops_those_that_ended() {
        let later = block("source", "203.0.113.0/24", 99);
        let changed = blocks().changed(&later.subject, Some(later.clone()), at(10));
        let ends: Vec<_> = changed.in_force(at(10)).iter().map(|block| block.ends_at).collect();
        assert_eq!(ends, [at(20), at(40), at(99)]);
        assert_eq!(changed.changed(&later.subject, None, at(10)).all.len(), 2);
    }

    #[test]
    fn a_subject_has_the_peers_that_a_block_refuses() {
        let key = PublicKey::parse(KEY).unwrap();
        let is = |kind: &str, text: &str, id: &str, key| {
            is_subject(&Subject::parse(kind, text).unwrap(), &peer(id), key, source("203.0.113.7"))
        };
        assert!(is("peer_id", "p", "p", None) && !is("peer_id", "p", "q", None));
        assert!(is("key", KEY, "p", Some(&key)) && is("key", KEY, KEY, None) && !is("key", KEY, "p", None));
        assert!(is("source", "203.0.113.7", "p", None) && !is("source", "203.0.114.0/24", "p", None));
    }
}
