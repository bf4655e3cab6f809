//! A fresh table on the DynamoDB stand-in.

use std::sync::atomic::{AtomicU32, Ordering};

use aurora_discovery_dynamodb::{DynamoOptions, connect, create_table};

/// The name of a new table, and the stand-in's endpoint.
pub(crate) async fn fresh() -> (String, String) {
    static TABLES: AtomicU32 = AtomicU32::new(0);
    let endpoint = std::env::var("AURORA_DYNAMODB_ENDPOINT")
        .expect("AURORA_DYNAMODB_ENDPOINT is not set; run this with `scripts/dynamodb-local run local …`");
    let number = TABLES.fetch_add(1, Ordering::Relaxed);
    // The random number is needed because an earlier process may have had the same id.
    let name = format!("aurora-peers-lambda-{}-{:x}-{number}", std::process::id(), fastrand::u64(..));
    let mut options = DynamoOptions::new(name.clone());
    options.endpoint = Some(endpoint.clone());
    create_table(&connect(&options).await.expect("a client"), &name, false)
        .await
        .expect("the stand-in must create a table");
    (name, endpoint)
}
