//! The options of a DynamoDB store.

use std::time::Duration;

/// The options of a DynamoDB store, in addition to the registry's `Limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoOptions {
    /// The table's name.
    pub table: String,
    /// The Region. `None`: from the environment or the profile.
    pub region: Option<String>,
    /// The URL of another endpoint that implements DynamoDB. `None`: AWS's own endpoint in the
    /// Region.
    pub endpoint: Option<String>,
    /// How long one operation may take, including retries, before it fails as unavailable. The
    /// default is 5 s: shorter than the ten seconds that clients wait, and longer than a throttled
    /// partition needs to recover.
    pub deadline: Duration,
    /// How long one attempt of a DynamoDB call may take. With the feature `credential-chain`, this
    /// bounds connecting and waiting for data separately. The default is 1 s: long enough to resend
    /// two lost packets, and short enough for several attempts within the deadline.
    pub attempt_timeout: Duration,
    /// How long the snapshot of a small network is reused. The default is 4 s. Reads with eventual
    /// consistency usually lag by less than a second, so a list is rarely more than five seconds
    /// old.
    pub snapshot_hold: Duration,
    /// A network counts as small if its table has at most this many items, including markers and
    /// dormant peers. A small network is read completely into a snapshot. The default is 1,000:
    /// items have about 130 bytes on average, so reading 1,000 items costs about as many units as
    /// one sample from a large network. 0 disables snapshots.
    pub snapshot_items: u16,
    /// Whether the caller takes `now` from [`DynamoStore::clock`](crate::DynamoStore::clock).
    /// Leases then do not depend on the clock of the caller's machine. Changes fail as unavailable
    /// if no response of DynamoDB has told the time for a minute.
    ///
    /// The default is `false`: the caller's clock is trusted. On Lambda, for example, AWS keeps it
    /// synchronized.
    pub store_time: bool,
}

/// The default of [`max_archetypes_per_peer`](aurora_discovery_registry::Limits) for a registry on
/// a table. Each archetype that a registration adds costs two write units, and so does each that it
/// drops. If 32 archetypes were allowed, one registration that replaces all of them would cost 135
/// write units.
pub const DEFAULT_MAX_ARCHETYPES_PER_PEER: u32 = 8;

impl DynamoOptions {
    /// The options of a table, with defaults for everything else.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            endpoint: None,
            deadline: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(1_000),
            snapshot_hold: Duration::from_secs(4),
            snapshot_items: 1_000,
            store_time: false,
        }
    }
}
