//! Batches: calls that read or write many items. If DynamoDB processes only a part of a batch, the
//! rest is sent again.

use std::collections::HashMap;
use std::time::Duration;

use aurora_discovery_registry::StoreError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest};

use super::{Table, half_units, units};
use crate::failure::unavailable;
use crate::item::Item;

/// Maximum number of items that DynamoDB accepts in a batch write.
const WRITE_BATCH: usize = 25;
/// Maximum number of keys that DynamoDB accepts in a batch read.
const READ_BATCH: usize = 100;
/// Maximum number of times that a batch, or what is left of it, is sent. The pauses in between add
/// up to about four seconds.
const MAX_BATCH_ROUNDS: u32 = 12;
/// The maximum pause before the unprocessed items of a batch are sent again for the first time. It
/// doubles each time, up to [`MAX_BATCH_PAUSE`].
const BATCH_PAUSE: Duration = Duration::from_millis(20);
const MAX_BATCH_PAUSE: Duration = Duration::from_millis(640);

impl Table {
    /// Writes items unconditionally.
    ///
    /// # Errors
    /// [`StoreError`] if a call fails, or if items are left unprocessed after the last round. Some
    /// of the items may have been written.
    pub(crate) async fn write_all(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let mut requests = Vec::with_capacity(items.len());
        for item in items {
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(|error| StoreError::Internal(error.to_string()))?;
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        for batch in requests.chunks(WRITE_BATCH) {
            self.write_batch(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn write_batch(&self, batch: Vec<WriteRequest>) -> Result<(), StoreError> {
        let mut rest = HashMap::from([(self.name.clone(), batch)]);
        for round in 0..MAX_BATCH_ROUNDS {
            let call = self.client.batch_write_item().set_request_items(Some(rest));
            let sent = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
            let output = sent.map_err(|error| self.failure("BatchWriteItem", &error))?;
            self.counters.record_write(units(output.consumed_capacity().first()));
            // Under load, DynamoDB processes a part of a batch, and returns the rest.
            rest = output.unprocessed_items.unwrap_or_default();
            if rest.values().all(Vec::is_empty) {
                return Ok(());
            }
            pause(round).await;
        }
        Err(unavailable("DynamoDB BatchWriteItem did not process all items"))
    }

    /// Reads items with eventual consistency, in any order. Keys without an item are omitted. Also
    /// returns the cost of the read, in half read units.
    pub(crate) async fn read_all(&self, keys: Vec<Item>) -> Result<(Vec<Item>, u64), StoreError> {
        self.read_batches(keys, false).await
    }

    /// The same as `read_all` with strong consistency, which costs twice as many units.
    pub(crate) async fn read_all_consistent(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        Ok(self.read_batches(keys, true).await?.0)
    }

    async fn read_batches(&self, keys: Vec<Item>, consistent: bool) -> Result<(Vec<Item>, u64), StoreError> {
        let batches = keys.chunks(READ_BATCH).map(|batch| self.read_batch(batch.to_vec(), consistent));
        let read = futures_util::future::try_join_all(batches).await?;
        let half_units = read.iter().map(|(_, half_units)| half_units).sum();
        Ok((read.into_iter().flat_map(|(items, _)| items).collect(), half_units))
    }

    async fn read_batch(&self, keys: Vec<Item>, consistent: bool) -> Result<(Vec<Item>, u64), StoreError> {
        let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(consistent).build();
        let request = request.map_err(|error| StoreError::Internal(error.to_string()))?;
        let mut rest = HashMap::from([(self.name.clone(), request)]);
        let (mut read, mut spent) = (Vec::new(), 0);
        for round in 0..MAX_BATCH_ROUNDS {
            let call = self.client.batch_get_item().set_request_items(Some(rest));
            let sent = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
            let output = sent.map_err(|error| self.failure("BatchGetItem", &error))?;
            let consumed = units(output.consumed_capacity().first());
            self.counters.record_read(consumed);
            spent += half_units(consumed);
            read.extend(output.responses.unwrap_or_default().into_values().flatten());
            // The keys that DynamoDB did not process must be requested again.
            rest = output.unprocessed_keys.unwrap_or_default();
            if rest.values().all(|keys| keys.keys.is_empty()) {
                return Ok((read, spent));
            }
            pause(round).await;
        }
        Err(unavailable("DynamoDB BatchGetItem did not process all keys"))
    }
}

/// Pauses for a random time between half of a maximum and the maximum, which doubles with each
/// round.
async fn pause(round: u32) {
    let longest = BATCH_PAUSE.saturating_mul(1 << round.min(8)).min(MAX_BATCH_PAUSE);
    tokio::time::sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}
