//! What the store asks of DynamoDB and what it is answered, as DynamoDB's reference has it in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::item::Item;

/// The items of one page, and where the next one begins.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Items {
    #[serde(default, deserialize_with = "or_nothing")]
    pub(crate) items: Vec<Item>,
    #[serde(rename = "LastEvaluatedKey")]
    pub(crate) next: Option<Item>,
    pub(super) consumed_capacity: Option<Consumed>,
}

/// Asks DynamoDB to say what a call is billed, index included.
pub(super) const TOTAL: &str = "TOTAL";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Get<'a> {
    pub(super) table_name: &'a str,
    pub(super) key: Item,
    pub(super) consistent_read: bool,
    pub(super) return_consumed_capacity: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Got {
    pub(super) item: Option<Item>,
    pub(super) consumed_capacity: Option<Consumed>,
}

/// A write of one item on a condition.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Conditional<'a> {
    pub(super) table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) item: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) update_expression: Option<String>,
    pub(super) condition_expression: String,
    pub(super) expression_attribute_names: BTreeMap<String, String>,
    /// An empty map of values is refused by DynamoDB.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) expression_attribute_values: Item,
    pub(super) return_values_on_condition_check_failure: &'static str,
    pub(super) return_consumed_capacity: &'static str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Billed {
    pub(super) consumed_capacity: Option<Consumed>,
}

/// A batch of reads or writes, by table.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch<T> {
    pub(super) request_items: BTreeMap<String, T>,
    pub(super) return_consumed_capacity: &'static str,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WriteRequest {
    pub(super) put_request: PutRequest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRequest {
    pub(super) item: Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Wrote {
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) unprocessed_items: BTreeMap<String, Vec<WriteRequest>>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) consumed_capacity: Vec<Consumed>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Keys {
    pub(super) keys: Vec<Item>,
    #[serde(default)]
    pub(super) consistent_read: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReadSome {
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) responses: BTreeMap<String, Vec<Item>>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) unprocessed_keys: BTreeMap<String, Keys>,
    #[serde(default, deserialize_with = "or_nothing")]
    pub(super) consumed_capacity: Vec<Consumed>,
}

/// A page of the index, or of everything.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page<'a> {
    pub(super) table_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index_name: Option<&'a str>,
    #[serde(flatten)]
    pub(super) condition: Option<Condition>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exclusive_start_key: Option<Item>,
    pub(super) return_consumed_capacity: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Condition {
    pub(super) key_condition_expression: String,
    pub(super) expression_attribute_names: BTreeMap<String, String>,
    pub(super) expression_attribute_values: Item,
}

/// What a call was billed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Consumed {
    pub(super) capacity_units: Option<f64>,
}

/// The units of an answer, if it tells.
pub(super) trait Units {
    fn units(&self) -> Option<f64>;
}

impl Units for Option<Consumed> {
    fn units(&self) -> Option<f64> {
        self.as_ref().and_then(|consumed| consumed.capacity_units)
    }
}

/// Of a batch, whose items are all of one table.
impl Units for Vec<Consumed> {
    fn units(&self) -> Option<f64> {
        self.first().and_then(|consumed| consumed.capacity_units)
    }
}

/// Reads `null` as what is left out.
fn or_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_the_same_as_nothing() {
        let nulls = r#"{"Items":null,"LastEvaluatedKey":null,"Item":null,"ConsumedCapacity":null,
            "UnprocessedItems":null,"UnprocessedKeys":null,"Responses":null,"Later":1}"#;
        for answer in [nulls, "{}"] {
            let page: Items = serde_json::from_str(answer).unwrap();
            assert!(page.items.is_empty() && page.next.is_none());
            let got: Got = serde_json::from_str(answer).unwrap();
            assert!(got.item.is_none() && got.consumed_capacity.units().is_none());
            let wrote: Wrote = serde_json::from_str(answer).unwrap();
            assert!(wrote.unprocessed_items.is_empty() && wrote.consumed_capacity.units().is_none());
            let read: ReadSome = serde_json::from_str(answer).unwrap();
            assert!(read.responses.is_empty() && read.unprocessed_keys.is_empty());
        }
    }
}
