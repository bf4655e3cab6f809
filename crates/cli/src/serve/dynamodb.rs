//! The registry on a DynamoDB table.

use std::sync::Arc;

use aurora_dynamodb::{Client, DynamoOptions, DynamoStore, connect};
use aurora_registry::Limits;

use super::{Opened, ServeArgs};
use crate::args::CreateTableArgs;
use crate::failure::Failure;

/// The store on the table that the settings name.
pub(super) async fn open(args: &ServeArgs, limits: &Limits) -> Result<Opened, Failure> {
    let Some(table) = &args.table else {
        return Err(Failure::flag("--store", "dynamodb needs --table, the name of the table"));
    };
    let options = options(table, args.dynamodb_endpoint.clone());
    let store = DynamoStore::new(client(&options).await?, options, limits);
    Ok((Arc::new(store), format!("table: {table}")))
}

/// `create-table`.
pub(crate) async fn create_table(args: CreateTableArgs) -> Result<(), Failure> {
    let options = options(&args.table, Some(args.dynamodb_endpoint));
    let client = client(&options).await?;
    let created = aurora_dynamodb::create_table(&client, &options.table, true).await;
    created.map_err(|error| Failure::Other(format!("the table {} can't be created: {error}", options.table)))
}

async fn client(options: &DynamoOptions) -> Result<Client, Failure> {
    connect(options).await.map_err(|error| Failure::Other(format!("DynamoDB can't be called: {error}")))
}

fn options(table: &str, endpoint: Option<String>) -> DynamoOptions {
    let mut options = DynamoOptions::new(table);
    options.endpoint = endpoint;
    options
}
