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
    /// How long one operation may take, including retries, before it fails as unavailable. Shorter
    /// than the ten seconds that clients wait, and longer than a throttled partition needs to
    /// recover.
    pub deadline: Duration,
    /// How long one attempt of a call may take: two lost packets, with time left for another
    /// attempt.
    pub attempt_timeout: Duration,
    /// How long the snapshot of a small network is reused. Together with the table's own lag (less
    /// than a second), it stays within the five seconds that the contract allows.
    pub snapshot_hold: Duration,
    /// Maximum number of items, including markers and dormant peers, of a network that is read
    /// completely. With about 130 bytes each, reading them costs as many units as one sample from a
    /// large network. 0 disables snapshots.
    pub snapshot_items: u16,
    /// Whether the caller takes `now` from [`DynamoStore::clock`](crate::DynamoStore::clock), so
    /// that a process whose own clock is wrong changes no lease. Changes then fail as unavailable
    /// if DynamoDB has not told the time for a minute. `false`: the caller's own clock is trusted,
    /// as on Lambda, where AWS keeps it right.
    pub store_time: bool,
}

/// The default of [`max_archetypes_per_peer`](aurora_discovery_registry::Limits) for a registry on
/// a table. Each archetype that a registration adds costs two write units, and each that it drops
/// two more. With 32 of them, one request would cost 24 times the price of the request itself.
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
