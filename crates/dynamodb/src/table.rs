//! The table, and every call that is made of it.

mod shapes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aurora_registry::StoreError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{CallError, Client};
use crate::counters::Counters;
use crate::failure::{store_error, unavailable};
use crate::item::{Expression, Item};
pub(crate) use shapes::Items;
use shapes::{
    Batch, Billed, Condition, Conditional, Get, Got, Keys, Page, PutRequest, ReadSome, TOTAL, Units as _,
    WriteRequest, Wrote,
};

/// The index that discovery queries, by the seed's name.
pub const INDEX: &str = "LastSeenIndex";

/// The actions that the store calls: what its role must be allowed, and nothing else. `Query` is called on the index only,
/// every other action on the table only.
pub const ACTIONS: [&str; 8] = [
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
];

/// Most items that one batch writes, by DynamoDB's rule.
const WRITE_BATCH: usize = 25;
/// Most keys that one batch reads, by DynamoDB's rule.
const READ_BATCH: usize = 100;
/// Rounds of a batch whose rest comes back unprocessed; the verb's deadline usually ends them first.
const BATCH_ROUNDS: u32 = 12;
/// The pause before a batch's rest is tried again; doubled each time, up to the longest.
const BATCH_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_BATCH_PAUSE: Duration = Duration::from_millis(640);

/// One table, its calls counted and their failures mapped.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    client: Client,
    name: String,
    counters: Arc<Counters>,
}

/// What became of a conditional write.
#[derive(Debug)]
pub(crate) enum Write {
    Done,
    /// The condition did not hold; the item that stands there, if one does.
    Refused(Option<Item>),
}

impl Table {
    pub(crate) fn new(client: Client, name: String, counters: Arc<Counters>) -> Self {
        Self { client, name, counters }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Reads one item as it is now.
    pub(crate) async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let asked =
            Get { table_name: &self.name, key, consistent_read: true, return_consumed_capacity: TOTAL };
        let got: Got = self.call("GetItem", &asked).await?;
        self.counters.has_read(got.consumed_capacity.units());
        Ok(got.item)
    }

    pub(crate) async fn put(&self, item: Item, condition: Expression) -> Result<Write, StoreError> {
        self.write("PutItem", Conditional { item: Some(item), ..self.conditional(condition) }).await
    }

    pub(crate) async fn update(
        &self,
        key: Item,
        update: Expression,
        condition: Expression,
    ) -> Result<Write, StoreError> {
        let mut asked = self.conditional(condition);
        asked.expression_attribute_names.extend(update.names);
        asked.expression_attribute_values.extend(update.values);
        self.write(
            "UpdateItem",
            Conditional { key: Some(key), update_expression: Some(update.text), ..asked },
        )
        .await
    }

    pub(crate) async fn delete(&self, key: Item, condition: Expression) -> Result<Write, StoreError> {
        self.write("DeleteItem", Conditional { key: Some(key), ..self.conditional(condition) }).await
    }

    fn conditional(&self, condition: Expression) -> Conditional<'_> {
        Conditional {
            table_name: &self.name,
            item: None,
            key: None,
            update_expression: None,
            condition_expression: condition.text,
            expression_attribute_names: condition.names,
            expression_attribute_values: condition.values,
            return_values_on_condition_check_failure: "ALL_OLD",
            return_consumed_capacity: TOTAL,
        }
    }

    /// What became of a conditional write: carried out, refused by its condition, or failed.
    async fn write(&self, action: &str, asked: Conditional<'_>) -> Result<Write, StoreError> {
        match self.client.call::<Billed>(action, &asked).await {
            Ok(billed) => {
                self.counters.has_written(billed.consumed_capacity.units());
                Ok(Write::Done)
            }
            Err(CallError::Refused(refusal)) if refusal.code == "ConditionalCheckFailedException" => {
                self.counters.has_written(None);
                self.counters.refused_writes.add(1);
                Ok(Write::Refused(refusal.item.filter(|item| !item.is_empty())))
            }
            Err(error) => Err(self.failed(action, &error)),
        }
    }

    /// Writes items whatever stands in their place, following what comes back unprocessed.
    pub(crate) async fn write_all(&self, items: Vec<Item>) -> Result<(), StoreError> {
        let mut requests =
            items.into_iter().map(|item| WriteRequest { put_request: PutRequest { item } }).peekable();
        while requests.peek().is_some() {
            self.write_batch(requests.by_ref().take(WRITE_BATCH).collect()).await?;
        }
        Ok(())
    }

    async fn write_batch(&self, batch: Vec<WriteRequest>) -> Result<(), StoreError> {
        let mut rest = BTreeMap::from([(self.name.clone(), batch)]);
        for round in 0..BATCH_ROUNDS {
            let asked = Batch { request_items: rest, return_consumed_capacity: TOTAL };
            let wrote: Wrote = self.call("BatchWriteItem", &asked).await?;
            self.counters.has_written(wrote.consumed_capacity.units());
            rest = wrote.unprocessed_items;
            if rest.values().all(Vec::is_empty) {
                return Ok(());
            }
            pause(round).await;
        }
        Err(unavailable("DynamoDB BatchWriteItem left items unprocessed"))
    }

    /// Reads items, perhaps a moment old, following what comes back unprocessed. Keys that nothing stands at are left out.
    pub(crate) async fn read_all(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        self.read_batches(keys, false).await
    }

    /// Reads items as they are now, for twice the units.
    pub(crate) async fn read_all_now(&self, keys: Vec<Item>) -> Result<Vec<Item>, StoreError> {
        self.read_batches(keys, true).await
    }

    async fn read_batches(&self, keys: Vec<Item>, now: bool) -> Result<Vec<Item>, StoreError> {
        let batches = keys.chunks(READ_BATCH).map(|batch| self.read_batch(batch.to_vec(), now));
        let read = futures_util::future::try_join_all(batches).await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn read_batch(&self, keys: Vec<Item>, now: bool) -> Result<Vec<Item>, StoreError> {
        let mut rest = BTreeMap::from([(self.name.clone(), Keys { keys, consistent_read: now })]);
        let mut read = Vec::new();
        for round in 0..BATCH_ROUNDS {
            let asked = Batch { request_items: rest, return_consumed_capacity: TOTAL };
            let some: ReadSome = self.call("BatchGetItem", &asked).await?;
            self.counters.has_read(some.consumed_capacity.units());
            read.extend(some.responses.into_values().flatten());
            rest = some.unprocessed_keys;
            if rest.values().all(|keys| keys.keys.is_empty()) {
                return Ok(read);
            }
            pause(round).await;
        }
        Err(unavailable("DynamoDB BatchGetItem left keys unprocessed"))
    }

    /// Reads one page of the index.
    pub(crate) async fn query(
        &self,
        window: Expression,
        limit: Option<u32>,
        start: Option<Item>,
    ) -> Result<Items, StoreError> {
        let condition = Condition {
            key_condition_expression: window.text,
            expression_attribute_names: window.names,
            expression_attribute_values: window.values,
        };
        self.page("Query", Some(INDEX), Some(condition), limit, start).await
    }

    /// Reads one page of everything.
    pub(crate) async fn scan(&self, limit: u32, start: Option<Item>) -> Result<Items, StoreError> {
        self.page("Scan", None, None, Some(limit), start).await
    }

    async fn page(
        &self,
        action: &str,
        index_name: Option<&str>,
        condition: Option<Condition>,
        limit: Option<u32>,
        exclusive_start_key: Option<Item>,
    ) -> Result<Items, StoreError> {
        let asked = Page {
            table_name: &self.name,
            index_name,
            condition,
            limit,
            exclusive_start_key,
            return_consumed_capacity: TOTAL,
        };
        let items: Items = self.call(action, &asked).await?;
        self.counters.has_read(items.consumed_capacity.units());
        Ok(items)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        action: &str,
        asked: &(impl Serialize + Sync),
    ) -> Result<T, StoreError> {
        self.client.call(action, asked).await.map_err(|error| self.failed(action, &error))
    }

    fn failed(&self, action: &str, error: &CallError) -> StoreError {
        self.counters.failures.add(1);
        store_error(action, error)
    }
}

async fn pause(round: u32) {
    let longest = BATCH_PAUSE.saturating_mul(1 << round.min(8)).min(LONGEST_BATCH_PAUSE);
    tokio::time::sleep(longest.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}
