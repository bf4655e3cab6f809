//! Making the table.

use std::time::Duration;

use aurora_registry::StoreError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use crate::client::{CallError, Client};
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
    let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
    let typed = |name, kind| json!({"AttributeName": name, "AttributeType": kind});
    let table = json!({
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [typed(KEY, "S"), typed(LANE, "S"), typed(PLACE, "B")],
        "KeySchema": [key(KEY, "HASH")],
        "GlobalSecondaryIndexes": [{
            "IndexName": INDEX,
            "KeySchema": [key(LANE, "HASH"), key(PLACE, "RANGE")],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        }],
    });
    match client.call::<IgnoredAny>("CreateTable", &table).await {
        Ok(_) => {}
        // Somebody else's, or made by an attempt whose answer was lost.
        Err(error) if error.code() == "ResourceInUseException" => {}
        Err(error) => return Err(store_error("CreateTable", &error)),
    }
    until_active(client, name).await?;
    if time_to_live { let_items_end(client, name).await } else { Ok(()) }
}

/// Turns the time to live on where it is off; turning it on twice is refused, and an attempt whose answer was lost counts.
async fn let_items_end(client: &Client, name: &str) -> Result<(), StoreError> {
    if items_end(client, name).await? {
        return Ok(());
    }
    let expiry = json!({"Enabled": true, "AttributeName": TIME_TO_LIVE});
    let wanted = json!({"TableName": name, "TimeToLiveSpecification": expiry});
    match client.call::<IgnoredAny>("UpdateTimeToLive", &wanted).await {
        Ok(_) => Ok(()),
        Err(error) if items_end(client, name).await? => {
            tracing::debug!(%error, "the time to live was turned on by another attempt");
            Ok(())
        }
        Err(error) => Err(store_error("UpdateTimeToLive", &error)),
    }
}

async fn items_end(client: &Client, name: &str) -> Result<bool, StoreError> {
    let described: Value = described(client, "DescribeTimeToLive", name).await?;
    let status = described["TimeToLiveDescription"]["TimeToLiveStatus"].as_str();
    Ok(matches!(status, Some("ENABLED" | "ENABLING")))
}

/// A new table takes calls some seconds after it was asked for.
async fn until_active(client: &Client, name: &str) -> Result<(), StoreError> {
    const ROUNDS: u32 = 120;
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Described {
        table: Table,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Table {
        table_status: String,
        #[serde(default)]
        global_secondary_indexes: Vec<Index>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Index {
        /// Not every stand-in says it.
        index_status: Option<String>,
    }
    for _ in 0..ROUNDS {
        let Described { table } = described(client, "DescribeTable", name).await?;
        let indexes = table.global_secondary_indexes.iter().filter_map(|index| index.index_status.as_ref());
        if std::iter::once(&table.table_status).chain(indexes).all(|status| status == "ACTIVE") {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(unavailable(format!("the table {name} is still not active")))
}

async fn described<T: DeserializeOwned>(client: &Client, action: &str, name: &str) -> Result<T, StoreError> {
    let told = client.call(action, &json!({"TableName": name})).await;
    told.map_err(|error: CallError| store_error(action, &error))
}
