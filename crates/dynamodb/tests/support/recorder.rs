//! Writes down which actions the store calls, and of what: `scripts/test-stand-ins` compares them with what the role allows.

use std::path::Path;

use aurora_dynamodb::Client;
use serde_json::Value;

/// The folder in which each action is an empty file, shared by the processes of all tests.
const FOLDER: &str = "AURORA_RECORD_ACTIONS";

/// The client, recording where it is asked for.
pub(crate) fn recorded(client: Client) -> Client {
    if let Some(folder) = std::env::var_os(FOLDER) {
        client.observe(move |action, body| {
            let body: Value = serde_json::from_slice(body).expect("a call in JSON");
            let of = body["IndexName"].as_str().unwrap_or("table");
            std::fs::write(Path::new(&folder).join(format!("{action} {of}")), "")
                .expect("a folder to write to");
        });
    }
    client
}
