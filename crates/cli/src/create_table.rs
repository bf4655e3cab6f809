//! `create-table`.

use aurora_discovery_dynamodb::DynamoOptions;
use clap::Args;

use crate::failure::Failure;

/// Arguments of `create-table`.
#[derive(Debug, Args)]
pub(crate) struct CreateTableArgs {
    /// The table's name.
    #[arg(long, env = "AURORA_TABLE", value_name = "NAME")]
    pub(crate) table: String,
    /// The URL of DynamoDB.
    #[arg(long, env = "AURORA_DYNAMODB_ENDPOINT", value_name = "URL")]
    pub(crate) dynamodb_endpoint: String,
}

/// Creates the table of `serve --store dynamodb`.
pub(crate) async fn run(args: CreateTableArgs) -> Result<(), Failure> {
    let mut options = DynamoOptions::new(args.table);
    options.endpoint = Some(args.dynamodb_endpoint);
    let client = aurora_discovery_dynamodb::connect(&options)
        .await
        .map_err(|error| Failure::dynamodb_unavailable(&error))?;
    let created = aurora_discovery_dynamodb::create_table(&client, &options.table, true).await;
    created.map_err(|error| Failure::Other(format!("the table {} can't be created: {error}", options.table)))
}
