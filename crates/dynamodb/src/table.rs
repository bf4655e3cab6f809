//! The table, and all calls of DynamoDB's API for it.

mod batch;

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use aurora_discovery_registry::StoreError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemError, DeleteItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};

use crate::client::Attempts;
use crate::counters::Counters;
use crate::expression::Expression;
use crate::failure::store_error;
use crate::item::Item;

/// The name of the index from which peers are listed. The index of the original service has the
/// same name.
pub const INDEX: &str = "LastSeenIndex";

/// The IAM actions that the store uses. A role needs these permissions and no others: `Query` on
/// the index only, and every other action on the table only.
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

/// A table. Its methods count the calls and their cost, and map errors to those of the store.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    client: Client,
    name: String,
    counters: Arc<Counters>,
}

/// The outcome of a conditional write.
#[derive(Debug)]
pub(crate) enum WriteOutcome {
    /// The condition held, and the write was made.
    Done,
    /// The condition did not hold. Contains the current item, if there is one.
    Refused(Option<Item>),
}

/// One page of the items of a query or a scan.
#[derive(Debug, Default)]
pub(crate) struct ItemPage {
    pub(crate) items: Vec<Item>,
    /// The start of the next page. `None` if this page is the last one.
    pub(crate) next: Option<Item>,
    /// The cost of reading the page, in half read units.
    pub(crate) half_units: u64,
}

impl Table {
    pub(crate) fn new(client: Client, name: String, counters: Arc<Counters>) -> Self {
        Self { client, name, counters }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Reads one item with strong consistency.
    pub(crate) async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.name).set_key(Some(key)).consistent_read(true);
        let sent = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        let output = sent.map_err(|error| self.failure("GetItem", &error))?;
        self.counters.record_read(units(output.consumed_capacity.as_ref()));
        Ok(output.item)
    }

    /// Writes one item if the condition holds.
    pub(crate) async fn put(&self, item: Item, condition: Expression) -> Result<WriteOutcome, StoreError> {
        let sent = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression(condition.text)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(non_empty(condition.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        self.outcome_of("PutItem", sent, PutItemOutput::consumed_capacity, |error| match error {
            PutItemError::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Changes attributes of one item if the condition holds.
    pub(crate) async fn update(
        &self,
        key: Item,
        update: Expression,
        condition: Expression,
    ) -> Result<WriteOutcome, StoreError> {
        // The update and the condition share one set of aliases. If both use an alias, it stands
        // for the same name or value in both.
        let names: HashMap<_, _> = update.names.into_iter().chain(condition.names).collect();
        let values: Item = update.values.into_iter().chain(condition.values).collect();
        let sent = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .update_expression(update.text)
            .condition_expression(condition.text)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(non_empty(values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        self.outcome_of("UpdateItem", sent, UpdateItemOutput::consumed_capacity, |error| match error {
            UpdateItemError::ConditionalCheckFailedException(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Deletes one item if the condition holds.
    ///
    /// If the call needed several attempts and the last one found no item, an earlier attempt may
    /// have deleted the item, and its response was lost. The item no longer exists in any case, so
    /// the result is [`WriteOutcome::Done`].
    pub(crate) async fn delete(&self, key: Item, condition: Expression) -> Result<WriteOutcome, StoreError> {
        let attempts = Attempts::default();
        let sent = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .condition_expression(condition.text)
            .set_expression_attribute_names(Some(condition.names))
            .set_expression_attribute_values(non_empty(condition.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await;
        let outcome =
            self.outcome_of("DeleteItem", sent, DeleteItemOutput::consumed_capacity, |error| match error {
                DeleteItemError::ConditionalCheckFailedException(refusal) => Some(refusal),
                _ => None,
            })?;
        Ok(match outcome {
            WriteOutcome::Refused(None) if attempts.were_several() => WriteOutcome::Done,
            outcome => outcome,
        })
    }

    /// Reads one page of a window of the index, with eventual consistency. `limit` is the maximum
    /// number of entries on it, if there is one. `start` is the start of the page, or `None` for
    /// the first one.
    pub(crate) async fn query(
        &self,
        window: Expression,
        limit: Option<i32>,
        start: Option<Item>,
    ) -> Result<ItemPage, StoreError> {
        let sent = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(INDEX)
            .key_condition_expression(window.text)
            .set_expression_attribute_names(Some(window.names))
            .set_expression_attribute_values(Some(window.values))
            .set_limit(limit)
            .set_exclusive_start_key(start)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let output = sent.map_err(|error| self.failure("Query", &error))?;
        let consumed = units(output.consumed_capacity.as_ref());
        self.counters.record_read(consumed);
        Ok(ItemPage {
            items: output.items.unwrap_or_default(),
            next: output.last_evaluated_key,
            half_units: half_units(consumed),
        })
    }

    /// Reads one page of at most `limit` items of the table. The read has strong consistency if
    /// `consistent` is set, and otherwise eventual consistency. `start` is the start of the page,
    /// or `None` for the first one.
    pub(crate) async fn scan(
        &self,
        limit: i32,
        start: Option<Item>,
        consistent: bool,
    ) -> Result<ItemPage, StoreError> {
        let call = self.client.scan().table_name(&self.name).limit(limit).set_exclusive_start_key(start);
        let call = call.consistent_read(consistent);
        let sent = call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await;
        let output = sent.map_err(|error| self.failure("Scan", &error))?;
        let consumed = units(output.consumed_capacity.as_ref());
        self.counters.record_read(consumed);
        Ok(ItemPage {
            items: output.items.unwrap_or_default(),
            next: output.last_evaluated_key,
            half_units: half_units(consumed),
        })
    }

    /// The outcome of a conditional write: done, refused by its condition, or failed.
    fn outcome_of<O, E>(
        &self,
        action: &str,
        sent: Result<O, SdkError<E>>,
        consumed: impl Fn(&O) -> Option<&ConsumedCapacity>,
        refusal: impl Fn(&E) -> Option<&ConditionalCheckFailedException>,
    ) -> Result<WriteOutcome, StoreError>
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        match sent {
            Ok(output) => {
                self.counters.record_write(units(consumed(&output)));
                Ok(WriteOutcome::Done)
            }
            Err(error) => match error.as_service_error().and_then(refusal) {
                Some(refused) => Ok(self.refused(refused.item.clone())),
                None => Err(self.failure(action, &error)),
            },
        }
    }

    /// Counts a write whose condition did not hold. DynamoDB bills it, but does not report the
    /// units.
    fn refused(&self, current: Option<Item>) -> WriteOutcome {
        self.counters.record_write(None);
        self.counters.refused_writes.add(1);
        // DynamoDB returns an empty item if there is none.
        WriteOutcome::Refused(current.filter(|item| !item.is_empty()))
    }

    /// Counts a failed call and maps its error.
    fn failure<E>(&self, action: &str, error: &SdkError<E>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        self.counters.failures.add(1);
        store_error(action, error)
    }
}

fn units(consumed: Option<&ConsumedCapacity>) -> Option<f64> {
    consumed.and_then(ConsumedCapacity::capacity_units)
}

/// Converts units to half units, because reads with eventual consistency are billed in half units.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and one call is billed far fewer units"
)]
fn half_units(units: Option<f64>) -> u64 {
    (units.unwrap_or_default() * 2.0).round() as u64
}

/// Returns `None` for an empty map of values, because DynamoDB rejects an empty map.
fn non_empty(values: Item) -> Option<Item> {
    (!values.is_empty()).then_some(values)
}
