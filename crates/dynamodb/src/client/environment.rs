//! Configuration from the environment only, as on Lambda. The endpoint and the credentials are the
//! same for all calls, so they are resolved once, when the client is built.

use aws_sdk_dynamodb::config::endpoint::{
    DefaultResolver, Endpoint, EndpointFuture, Params, ResolveEndpoint,
};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, Credentials, IdentityCache, Region, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use http::Uri;

use super::{ConnectError, endpoint, is_loopback, local_credentials, no_region, region, variable};
use crate::options::DynamoOptions;

/// The configuration of a client. The options take precedence over the environment.
pub(super) async fn config(options: &DynamoOptions, http: SharedHttpClient) -> Result<Builder, ConnectError> {
    let endpoint = endpoint(options)?;
    let region = region(options, endpoint.as_ref())?.ok_or_else(no_region)?;
    let credentials = credentials(endpoint.as_ref())?;
    let endpoint = match endpoint {
        Some(endpoint) => Endpoint::builder().url(endpoint.to_string()).build(),
        None => aws_endpoint(&region).await?,
    };
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(options.attempt_timeout);
    Ok(Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(region))
        .endpoint_resolver(ResolvedEndpoint(endpoint))
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::no_cache())
        // The timeout of an attempt includes the body of the response, so a stalled body needs no
        // protection of its own.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .timeout_config(timeouts.build()))
}

fn credentials(endpoint: Option<&Uri>) -> Result<Credentials, ConnectError> {
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(key), Some(secret)) => {
            Ok(Credentials::new(key, secret, variable("AWS_SESSION_TOKEN"), None, "environment"))
        }
        _ if endpoint.is_some_and(is_loopback) => Ok(local_credentials()),
        _ => {
            let message = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set";
            Err(ConnectError(message.to_owned()))
        }
    }
}

/// AWS's own endpoint in a Region, by the SDK's rules.
async fn aws_endpoint(region: &str) -> Result<Endpoint, ConnectError> {
    let is_set = |name: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let params = Params::builder()
        .region(region)
        .use_fips(is_set("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"))
        .build();
    let params = params.map_err(|error| ConnectError(error.to_string()))?;
    let resolved = DefaultResolver::new().resolve_endpoint(&params).await;
    resolved.map_err(|error| {
        ConnectError(format!("no DynamoDB endpoint is known for the Region {region}: {error}"))
    })
}

/// An endpoint that is already resolved.
#[derive(Debug)]
struct ResolvedEndpoint(Endpoint);

impl ResolveEndpoint for ResolvedEndpoint {
    fn resolve_endpoint<'a>(&'a self, _params: &'a Params) -> EndpointFuture<'a> {
        EndpointFuture::ready(Ok(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_endpoint_depends_on_the_partition_of_the_region() {
        for (region, url) in [
            ("eu-central-1", "https://dynamodb.eu-central-1.amazonaws.com"),
            ("cn-north-1", "https://dynamodb.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "https://dynamodb.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(aws_endpoint(region).await.unwrap().url(), url);
        }
    }
}
