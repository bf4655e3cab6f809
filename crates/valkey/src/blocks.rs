//! The list of blocks, which has a key of its own. The store keeps no copy of it in memory, and
//! reads the key for each call.

use aurora_discovery_registry::{BlockList, StoreError};
use redis::{Pipeline, Value};

use crate::confirmation::LAST_MILLIS;
use crate::failure::{may_have_taken_effect, unavailable};
use crate::shared::Shared;

const REPLACE: &str = include_str!("script/replace_blocks.lua");
const VERSION_FIELD: &str = "version";
const TEXT_FIELD: &str = "text";

/// Reads the list. A list that was never written is empty and has version 0.
pub(crate) async fn read(shared: &Shared) -> Result<BlockList, StoreError> {
    let failed = |error: redis::RedisError| unavailable(error.to_string());
    let mut connection = shared.connector.connect(shared.options.response_timeout).await.map_err(failed)?;
    let mut command = redis::cmd("HMGET");
    command.arg(&shared.keys.blocks).arg(VERSION_FIELD).arg(TEXT_FIELD);
    let (version, text): (Option<u64>, Option<String>) =
        command.query_async(&mut connection).await.map_err(failed)?;
    Ok(BlockList { version: version.unwrap_or_default(), text: text.unwrap_or_default() })
}

/// Replaces the list if it still has this version, and waits until the new list is durable. Returns
/// whether it was replaced.
pub(crate) async fn replace(shared: &Shared, text: &str, version: u64) -> Result<bool, StoreError> {
    let failed = |error: redis::RedisError| unavailable(error.to_string());
    let mut connection = shared.connector.connect(shared.options.response_timeout).await.map_err(failed)?;
    let mut pipeline = Pipeline::new();
    pipeline.cmd("EVAL").arg(REPLACE).arg(1).arg(&shared.keys.blocks).arg(version).arg(text);
    let confirmation = shared.confirmation();
    let count = 1 + confirmation.map_or(0, |first| first.push_first(&mut pipeline, LAST_MILLIS));
    let sent = connection.send_packed_commands(&pipeline, 0, count).await;
    let mut replies = sent.map_err(|error| may_have_taken_effect(&error.to_string()))?.into_iter();
    let is_replaced = match replies.next() {
        Some(Value::Int(replaced)) => replaced == 1,
        Some(Value::ServerError(error)) => return Err(unavailable(error.to_string())),
        _ => return Err(may_have_taken_effect("the script returned no number")),
    };
    if let Some(confirmation) = confirmation.filter(|_| is_replaced) {
        confirmation.check(replies.last()).map_err(|cause| may_have_taken_effect(&cause))?;
    }
    Ok(is_replaced)
}
