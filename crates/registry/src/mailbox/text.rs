//! A mailbox as a text, for stores that keep it outside of the process.

use aurora_discovery_protocol::{MailId, PeerId, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Letter, Mailbox, Seen, SidHash};
use crate::Source;

/// The names of the fields are short, because DynamoDB bills by the size of an item.
#[derive(Serialize, Deserialize)]
struct StoredMailbox {
    #[serde(rename = "m")]
    letters: Vec<StoredLetter>,
    /// The hash, the source and the time of each session.
    #[serde(rename = "s")]
    seen: Vec<(u64, String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct StoredLetter {
    id: MailId,
    #[serde(rename = "f")]
    from: PeerId,
    #[serde(rename = "s")]
    source: String,
    #[serde(rename = "h")]
    sid: u64,
    #[serde(rename = "m")]
    message: Box<str>,
    #[serde(rename = "t")]
    sent_at: u64,
}

impl Mailbox {
    /// The mailbox as a text, in the encoding that [`Mailbox::parse`] reads.
    pub fn to_text(&self) -> String {
        let letter = |letter: &Letter| StoredLetter {
            id: letter.id,
            from: letter.from.clone(),
            source: source_text(letter.source),
            sid: letter.sid.0,
            message: letter.message.clone(),
            sent_at: letter.sent_at.as_millis(),
        };
        let seen = |seen: &Seen| (seen.sid.0, source_text(seen.source), seen.at.as_millis());
        let stored = StoredMailbox {
            letters: self.letters.iter().map(letter).collect(),
            seen: self.seen.iter().map(seen).collect(),
        };
        // Serializing strings and numbers never fails.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// Reads a text that [`Mailbox::to_text`] wrote. `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let stored: StoredMailbox = serde_json::from_str(text).ok()?;
        let letter = |stored: StoredLetter| {
            Some(Letter {
                id: stored.id,
                from: stored.from,
                source: parse_source(&stored.source)?,
                sid: SidHash(stored.sid),
                message: stored.message,
                sent_at: Timestamp::from_millis(stored.sent_at),
            })
        };
        let seen = |(sid, source, at): (u64, String, u64)| {
            Some(Seen { sid: SidHash(sid), source: parse_source(&source)?, at: Timestamp::from_millis(at) })
        };
        Some(Self {
            letters: stored.letters.into_iter().map(letter).collect::<Option<_>>()?,
            seen: stored.seen.into_iter().map(seen).collect::<Option<_>>()?,
        })
    }
}

fn source_text(source: Source) -> String {
    URL_SAFE_NO_PAD.encode(source.to_bytes())
}

fn parse_source(text: &str) -> Option<Source> {
    Source::from_bytes(URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_round_trips() {
        let mut mailbox = Mailbox::default();
        assert_eq!(Mailbox::parse(&mailbox.to_text()), Some(mailbox.clone()));
        for (number, address) in [(0, "203.0.113.7"), (u64::MAX, "2001:db8::1")] {
            let from = PeerId::parse("a\"\\").unwrap();
            let letter = Letter {
                id: MailId::new(number),
                sid: SidHash(number),
                from,
                source: Source::of(address.parse().unwrap()),
                message: "a.b.c".into(),
                sent_at: Timestamp::from_millis(7),
            };
            mailbox.deliver(letter, Timestamp::from_millis(7));
        }
        mailbox.acknowledge(&[MailId::new(0)]);
        assert_eq!((mailbox.letters.len(), mailbox.seen.len()), (1, 2));
        assert_eq!(Mailbox::parse(&mailbox.to_text()), Some(mailbox));
        for other in ["", "{}", r#"{"m":[],"s":[[1,"x",2]]}"#] {
            assert_eq!(Mailbox::parse(other), None, "{other}");
        }
    }
}
