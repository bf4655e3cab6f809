//! Creation of the table.

use std::time::Duration;

use aurora_discovery_registry::StoreError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification,
    TimeToLiveStatus,
};

use crate::failure::{store_error, unavailable};
use crate::item::{KEY, LANE, RING_POSITION, TIME_TO_LIVE};
use crate::table::INDEX;

/// Creates the table if it does not exist, and waits until it can be used. This function is for
/// local endpoints. On AWS, the CloudFormation stack creates the table.
///
/// With `time_to_live`, the table's time to live is enabled as on AWS: DynamoDB then deletes items
/// some time after they have expired.
///
/// # Errors
/// [`StoreError`] if the endpoint rejects a call, or if the table cannot be used after a minute.
pub async fn create_table(client: &Client, name: &str, time_to_live: bool) -> Result<(), StoreError> {
    let invalid = |error: BuildError| StoreError::Internal(error.to_string());
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let typed =
        |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key(LANE, KeyType::Hash).map_err(invalid)?)
        .key_schema(key(RING_POSITION, KeyType::Range).map_err(invalid)?)
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .map_err(invalid)?;
    let sent = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(typed(KEY, ScalarAttributeType::S).map_err(invalid)?)
        .attribute_definitions(typed(LANE, ScalarAttributeType::S).map_err(invalid)?)
        .attribute_definitions(typed(RING_POSITION, ScalarAttributeType::B).map_err(invalid)?)
        .key_schema(key(KEY, KeyType::Hash).map_err(invalid)?)
        .global_secondary_indexes(index)
        .send()
        .await;
    match sent {
        Ok(_) => {}
        // The table exists: another process created it, or an earlier attempt did and its response
        // was lost.
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => {}
        Err(error) => return Err(store_error("CreateTable", &error)),
    }
    wait_until_active(client, name).await?;
    // DynamoDB accepts the setting only for an active table.
    if time_to_live { enable_time_to_live(client, name).await } else { Ok(()) }
}

/// Enables the time to live if it is off. DynamoDB refuses to enable it twice, so it refuses this
/// call if another process has just enabled it, or if an earlier attempt did and its response was
/// lost. Such a refusal counts as success.
async fn enable_time_to_live(client: &Client, name: &str) -> Result<(), StoreError> {
    if time_to_live_is_enabled(client, name).await? {
        return Ok(());
    }
    let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(TIME_TO_LIVE).build();
    let expiry = expiry.map_err(|error| StoreError::Internal(error.to_string()))?;
    match client.update_time_to_live().table_name(name).time_to_live_specification(expiry).send().await {
        Ok(_) => Ok(()),
        Err(error) if time_to_live_is_enabled(client, name).await? => {
            tracing::debug!(%error, "another attempt has enabled the time to live");
            Ok(())
        }
        Err(error) => Err(store_error("UpdateTimeToLive", &error)),
    }
}

async fn time_to_live_is_enabled(client: &Client, name: &str) -> Result<bool, StoreError> {
    let sent = client.describe_time_to_live().table_name(name).send().await;
    let described = sent.map_err(|error| store_error("DescribeTimeToLive", &error))?;
    let status = described.time_to_live_description.and_then(|description| description.time_to_live_status);
    Ok(matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)))
}

/// Waits until a new table accepts calls, which takes a few seconds.
async fn wait_until_active(client: &Client, name: &str) -> Result<(), StoreError> {
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
    Err(unavailable(format!("the table {name} did not become active within a minute")))
}
