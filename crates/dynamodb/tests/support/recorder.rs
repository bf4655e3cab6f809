//! Records the actions that the store calls, and whether they are on the table or on the index.
//! `scripts/test-stand-ins` compares them with the permissions of the service's IAM role.

use std::ffi::OsString;
use std::path::Path;

use aurora_discovery_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use serde_json::Value;

/// The environment variable with the folder in which each action is recorded as an empty file. The
/// processes of all tests share the folder. If the variable is unset, nothing is recorded.
const FOLDER: &str = "AURORA_RECORD_ACTIONS";

/// The client, which records its actions if recording is enabled.
pub(crate) fn recorded(client: Client) -> Client {
    match std::env::var_os(FOLDER) {
        None => client,
        Some(folder) => Client::from_conf(client.config().to_builder().interceptor(Recorder(folder)).build()),
    }
}

#[derive(Debug)]
struct Recorder(OsString);

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let target = request.headers().get("x-amz-target").ok_or("a call without a target")?;
        let action = target.rsplit('.').next().unwrap_or(target);
        let body: Value = serde_json::from_slice(request.body().bytes().ok_or("a body that streams")?)?;
        let of = body["IndexName"].as_str().unwrap_or("table");
        std::fs::write(Path::new(&self.0).join(format!("{action} {of}")), "")?;
        Ok(())
    }
}
