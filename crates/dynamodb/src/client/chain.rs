//! Configuration from the same sources as AWS's own tools.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, SharedHttpClient, StalledStreamProtectionConfig};

use super::{ConnectError, endpoint, is_loopback, local_credentials, no_region, region, variable};
use crate::options::DynamoOptions;

/// The configuration of a client. The options take precedence over the environment, the profile,
/// the container and the instance.
pub(super) async fn config(options: &DynamoOptions, http: SharedHttpClient) -> Result<Builder, ConnectError> {
    let endpoint = endpoint(options)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Some(region) = region(options, endpoint.as_ref())? {
        loader = loader.region(Region::new(region));
    }
    if endpoint.as_ref().is_some_and(is_loopback) && variable("AWS_ACCESS_KEY_ID").is_none() {
        loader = loader.credentials_provider(local_credentials());
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let found = loader.load().await;
    if found.region().is_none() {
        return Err(no_region());
    }
    // The SDK fetches credentials as part of an attempt, and assuming a role may take longer than
    // `attempt_timeout`. The timeout therefore applies to connecting and to reading, not to the
    // whole attempt.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.attempt_timeout)
        .read_timeout(options.attempt_timeout);
    let stalled = StalledStreamProtectionConfig::enabled().grace_period(options.attempt_timeout);
    Ok(Builder::from(&found).timeout_config(timeouts.build()).stalled_stream_protection(stalled.build()))
}
