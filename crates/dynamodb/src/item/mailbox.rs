//! The item with the mailbox of a peer.

use aurora_discovery_protocol::PeerId;
use aurora_discovery_registry::Mailbox;

use super::{
    GENERATION, Generation, Item, ItemError, TIME_TO_LIVE, array_of, bytes, key, number, text, text_of,
};

const MAILBOX: &str = "mail";

/// The key of the mailbox of a peer. It contains one space, and the keys of markers contain at
/// least two, so they never collide.
pub(crate) fn mailbox_key(peer: &PeerId) -> Item {
    key(&format!(" mail:{peer}"))
}

/// The item with a mailbox. It is not listed in the index.
pub(crate) fn mailbox_item(peer: &PeerId, mailbox: &Mailbox, generation: Generation) -> Item {
    let mut item = mailbox_key(peer);
    item.insert(MAILBOX.to_owned(), text(mailbox.to_text()));
    item.insert(GENERATION.to_owned(), bytes(generation.0));
    // DynamoDB may delete the item once everything in the mailbox has expired. The store only
    // writes mailboxes that remember a session, so the 0 occurs only in tests.
    let over_at = mailbox.last_end().map_or(0, |end| end.as_secs() + 1);
    item.insert(TIME_TO_LIVE.to_owned(), number(over_at));
    item
}

/// Parses a mailbox.
pub(crate) fn mailbox_of(item: &Item) -> Result<(Mailbox, Generation), ItemError> {
    let mailbox = Mailbox::parse(text_of(item, MAILBOX)?)
        .ok_or_else(|| ItemError(format!("{MAILBOX} is not a valid mailbox")))?;
    Ok((mailbox, Generation(array_of(item, GENERATION)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{is_peer, key_of};

    #[test]
    fn a_mailbox_round_trips_and_is_no_peer() {
        let peer = PeerId::parse("p").unwrap();
        let (mailbox, generation) = (Mailbox::default(), Generation([7; 8]));
        let item = mailbox_item(&peer, &mailbox, generation);
        assert_eq!(mailbox_of(&item), Ok((mailbox, generation)));
        assert_eq!((key_of(&item), is_peer(&item)), (Some(" mail:p"), false));
        for name in [MAILBOX, GENERATION] {
            let mut lacking = item.clone();
            lacking.insert(name.to_owned(), number(1));
            assert!(mailbox_of(&lacking).is_err(), "{name}");
        }
    }
}
