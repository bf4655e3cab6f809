//! How a store reaches its table.

use std::time::Duration;

/// What a DynamoDB store is told, beside the registry's `Limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoOptions {
    /// The table's name.
    pub table: String,
    /// The Region; `None`: as the environment or the profile says.
    pub region: Option<String>,
    /// Another endpoint that speaks DynamoDB, as a URL; `None`: AWS's own in the Region.
    pub endpoint: Option<String>,
    /// How long one verb may take, retries included, before it fails as unavailable. Below the ten seconds that clients
    /// wait, above what a throttled partition needs to recover.
    pub deadline: Duration,
    /// How long one attempt of one call may take: two lost packets, and still time for another attempt.
    pub attempt_timeout: Duration,
    /// How long a small network's snapshot serves. With the table's own lag (below a second) it stays within the five
    /// seconds that the contract allows.
    pub snapshot_hold: Duration,
    /// Most items, markers and dormant peers included, of a network that is read whole: with some 130 bytes each they take
    /// as many units as one sample from a large network does. 0: no network is read whole.
    pub snapshot_items: u16,
}

impl DynamoOptions {
    /// The options of a table, everything else by default.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            endpoint: None,
            deadline: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(1_000),
            snapshot_hold: Duration::from_secs(4),
            snapshot_items: 1_000,
        }
    }
}
