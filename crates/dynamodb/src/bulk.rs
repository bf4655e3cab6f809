//! Bulk writes for tests and benchmarks: the items of many registrations are written in batches,
//! into a table that no other process writes to.

use std::collections::BTreeMap;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{PutRequest, StoreError};

use crate::core::{Core, Lookup, new_generation};
use crate::item::{self, Item};

/// Number of items per index key.
pub type IndexKeyCounts = BTreeMap<String, u64>;

impl Core {
    /// Writes the items that [`Core::put`] would write, without its checks and in batches, because
    /// single writes would take too long to fill a large table.
    pub(crate) async fn write_unchecked(
        &self,
        puts: &[PutRequest],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.table.write_all(self.items_of(puts, now).await?).await
    }

    /// The number of items that the registrations would have under each index key.
    pub(crate) async fn count_index_keys(
        &self,
        puts: &[PutRequest],
        now: Timestamp,
    ) -> Result<IndexKeyCounts, StoreError> {
        self.items_of(puts, now).await.map(|items| count_by_index_key(&items))
    }

    async fn items_of(&self, puts: &[PutRequest], now: Timestamp) -> Result<Vec<Item>, StoreError> {
        let secret = self.secret().await?;
        let mut items = Vec::new();
        for put in puts {
            let stored = self.new_peer(put, &Lookup::Absent, false, new_generation()?, now);
            let item = stored.to_item(secret, self.revival_window_millis);
            items.push(item.map_err(|error| StoreError::Internal(error.to_string()))?);
            items.extend(self.markers(&stored).await?);
        }
        Ok(items)
    }
}

fn count_by_index_key(items: &[Item]) -> IndexKeyCounts {
    let mut keys = IndexKeyCounts::new();
    for lane in items.iter().filter_map(|item| item.get(item::LANE)?.as_s().ok()) {
        *keys.entry(lane.to_owned()).or_default() += 1;
    }
    keys
}
