//! The keys of a registry on the server. Only this file knows their names.

use aurora_discovery_protocol::PeerId;

/// The keys of one registry. The hash tag in braces puts all of them into one hash slot. A server
/// in cluster mode lets a script use several keys only if they are in the same slot.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Hash: the id of a peer → its lease, in the format of `lease.rs`.
    pub(crate) leases: String,
    /// Hash: the id of a peer → its record, in the encoding of the embedded store's journal.
    pub(crate) peers: String,
    /// Stream: the changes, one entry for each batch.
    pub(crate) log: String,
    /// String: the nonce of the last entry of the log.
    pub(crate) head: String,
    /// Hash: the version of this layout, and the secret that all processes of the registry share.
    pub(crate) meta: String,
    /// Hash: the version and the text of the list of blocks.
    pub(crate) blocks: String,
    /// Stream: the receiver of each message that has arrived recently.
    pub(crate) arrivals: String,
    /// The prefix of the keys of mailboxes, each of which is a string.
    mailboxes: String,
}

impl Keys {
    /// The keys of the registry with this name.
    pub(crate) fn new(name: &str) -> Self {
        let key = |part: &str| format!("{{aurora:{name}}}:{part}");
        Self {
            leases: key("leases"),
            peers: key("peers"),
            log: key("log"),
            head: key("head"),
            meta: key("meta"),
            blocks: key("blocks"),
            arrivals: key("arrivals"),
            mailboxes: key("mail:"),
        }
    }

    /// The key of the mailbox of a peer.
    pub(crate) fn mailbox(&self, peer: &PeerId) -> String {
        format!("{}{peer}", self.mailboxes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_registry_have_one_hash_tag() {
        let mailbox = Keys::new("dev").mailbox(&PeerId::parse("p}{").unwrap());
        let Keys { leases, peers, log, head, meta, blocks, arrivals, .. } = Keys::new("dev");
        for key in [&leases, &peers, &log, &head, &meta, &blocks, &arrivals, &mailbox] {
            assert!(key.starts_with("{aurora:dev}:"), "{key}");
        }
        assert_eq!(leases, "{aurora:dev}:leases");
    }
}
