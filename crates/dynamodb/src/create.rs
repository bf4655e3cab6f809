//! Making the table.

use std::time::Duration;

use aurora_registry::StoreError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification,
};

use crate::failure::{store_error, unavailable};
use crate::item::{KEY, LANE, PLACE, TIME_TO_LIVE};
use crate::table::INDEX;

/// Creates the table where it is not there yet, for a local endpoint; on AWS the template of the stack does.
///
/// With `time_to_live`, items are deleted some time after they are forgotten, as on AWS.
///
/// # Errors
/// [`StoreError`] if the endpoint does not take it.
pub async fn create_table(client: &Client, name: &str, time_to_live: bool) -> Result<(), StoreError> {
    let invalid = |error: BuildError| StoreError::Internal(error.to_string());
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let typed =
        |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key(LANE, KeyType::Hash).map_err(invalid)?)
        .key_schema(key(PLACE, KeyType::Range).map_err(invalid)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(invalid)?;
    let sent = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(typed(KEY, ScalarAttributeType::S).map_err(invalid)?)
        .attribute_definitions(typed(LANE, ScalarAttributeType::S).map_err(invalid)?)
        .attribute_definitions(typed(PLACE, ScalarAttributeType::B).map_err(invalid)?)
        .key_schema(key(KEY, KeyType::Hash).map_err(invalid)?)
        .global_secondary_indexes(index)
        .send()
        .await;
    match sent {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {
            return until_active(client, name).await;
        }
        Err(error) => return Err(store_error("CreateTable", &error)),
    }
    until_active(client, name).await?;
    if time_to_live {
        let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(TIME_TO_LIVE).build();
        let call = client.update_time_to_live().table_name(name);
        let sent = call.time_to_live_specification(expiry.map_err(invalid)?).send().await;
        sent.map_err(|error| store_error("UpdateTimeToLive", &error))?;
    }
    Ok(())
}

/// A new table takes calls some seconds after it was asked for.
async fn until_active(client: &Client, name: &str) -> Result<(), StoreError> {
    const ROUNDS: u32 = 120;
    for _ in 0..ROUNDS {
        let sent = client.describe_table().table_name(name).send().await;
        let table = sent.map_err(|error| store_error("DescribeTable", &error))?.table;
        let index_is_active = |table: &TableDescription| {
            table.global_secondary_indexes().iter().all(|index| {
                index.index_status().is_none_or(|status| status.as_str() == TableStatus::Active.as_str())
            })
        };
        if table.is_some_and(|table| {
            table.table_status() == Some(&TableStatus::Active) && index_is_active(&table)
        }) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(unavailable(format!("the table {name} is still not active")))
}
