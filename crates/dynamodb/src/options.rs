//! How a store reaches its table.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

/// What a DynamoDB store is told, beside the registry's `Limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DynamoOptions {
    /// The table's name.
    pub table: String,
    /// The Region; `None`: as the environment or the profile says.
    pub region: Option<String>,
    /// Another endpoint that speaks DynamoDB, as a URL; `None`: AWS's own in the Region.
    pub endpoint: Option<String>,
    /// How long one verb may take, retries included, before it fails as unavailable. Below the ten seconds that clients
    /// wait, above what a throttled partition needs to recover.
    pub deadline: Duration,
    /// How long one attempt of one call may take: two lost packets, and still time for another attempt.
    pub attempt_timeout: Duration,
    /// How long a small network's snapshot serves. With the table's own lag (below a second) it stays within the five
    /// seconds that the contract allows.
    pub snapshot_hold: Duration,
    /// Most items, markers and dormant peers included, of a network that is read whole: with some 130 bytes each they take
    /// as many units as one sample from a large network does. 0: no network is read whole.
    pub snapshot_items: u16,
}

impl DynamoOptions {
    /// The options of a table, everything else by default.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            endpoint: None,
            deadline: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(1_000),
            snapshot_hold: Duration::from_secs(4),
            snapshot_items: 1_000,
        }
    }
}

/// Attempts of one call, the first included. The deadline usually ends them first.
const ATTEMPTS: u32 = 8;
/// The first pause before another attempt; each further one is up to twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause between attempts, so that a deadline of seconds holds several.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// A client of the endpoint that `options` name, with credentials from the environment, the profile, or the machine.
///
/// At a loopback endpoint, where nobody checks them, credentials need not be set.
pub async fn connect(options: &DynamoOptions) -> Client {
    let http = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(ATTEMPTS)
                .with_initial_backoff(FIRST_PAUSE)
                .with_max_backoff(LONGEST_PAUSE),
        )
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(options.attempt_timeout)
                .operation_attempt_timeout(options.attempt_timeout)
                .build(),
        );
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
        if is_loopback(endpoint) && std::env::var_os("AWS_ACCESS_KEY_ID").is_none() {
            loader = loader.credentials_provider(Credentials::from_keys("local", "local", None));
            if options.region.is_none() {
                loader = loader.region(Region::from_static("us-east-1"));
            }
        }
    }
    Client::new(&loader.load().await)
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("http://").unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|local| {
        host.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_loopback_endpoint_goes_without_credentials() {
        for local in ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:1"] {
            assert!(is_loopback(local), "{local}");
        }
        for other in
            ["https://dynamodb.us-east-1.amazonaws.com", "http://localhost.example", "http://10.0.0.1"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }
}
