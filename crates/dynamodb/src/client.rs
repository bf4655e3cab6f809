//! The AWS SDK's DynamoDB client, configured for this store.

#[cfg(feature = "credential-chain")]
mod chain;
#[cfg(not(feature = "credential-chain"))]
mod environment;
mod retry;

use std::env;
use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use http::Uri;

use crate::options::DynamoOptions;
#[cfg(feature = "credential-chain")]
use chain::config;
#[cfg(not(feature = "credential-chain"))]
use environment::config;
pub(crate) use retry::{Attempts, is_transient_response};

/// The Region for signing requests to a loopback endpoint, if none is configured.
const LOCAL_REGION: &str = "us-east-1";

/// How long a connection may be idle before it is discarded. DynamoDB closes idle connections after
/// about a minute.
const LONGEST_IDLE: Duration = Duration::from_secs(50);

/// The reason why a client cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(String);

/// Builds a client for the endpoint in `options`, or for AWS's own endpoint in the Region.
///
/// With the feature `credential-chain`, the Region, the credentials and the endpoint come from the
/// same sources as for AWS's own tools: environment, profile (SSO, `aws login`,
/// `credential_process`, assumed roles), web identity, container, instance metadata. Without the
/// feature they come from the environment only. A loopback endpoint with the scheme `http` needs
/// neither a Region nor credentials.
///
/// # Errors
/// [`ConnectError`] says what is missing or malformed. This function does not call DynamoDB.
pub async fn connect(options: &DynamoOptions) -> Result<Client, ConnectError> {
    let config = config(options, http_client(endpoint(options)?.as_ref())).await?;
    let config = config.retry_config(retry::config()).retry_classifier(retry::TransientResponse);
    Ok(Client::from_conf(config.build()))
}

/// The SDK's HTTP client, with rustls on ring. It uses the proxy that `HTTPS_PROXY`, `HTTP_PROXY`
/// and `NO_PROXY` select, except for a loopback endpoint, which a proxy cannot reach. The SDK's
/// default client would do the same, but would add a second cryptography library.
fn http_client(endpoint: Option<&Uri>) -> SharedHttpClient {
    let proxy = match endpoint {
        Some(endpoint) if has_loopback_host(endpoint) => ProxyConfig::disabled(),
        _ => ProxyConfig::from_env(),
    };
    Builder::new().pool_idle_timeout(LONGEST_IDLE).build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(proxy.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.tls_provider(Provider::rustls(CryptoMode::Ring)).build()
    })
}

/// The value of an environment variable. A blank value counts as unset.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The value of `first`, or else of `second`.
fn either(first: &str, second: &str) -> Option<String> {
    variable(first).or_else(|| variable(second))
}

/// The Region from the options or the environment, or the default for a loopback endpoint.
fn region(options: &DynamoOptions, endpoint: Option<&Uri>) -> Result<Option<String>, ConnectError> {
    let region = options.region.clone().or_else(|| either("AWS_REGION", "AWS_DEFAULT_REGION"));
    match region {
        Some(region) if !is_host_label(&region) => {
            Err(ConnectError(format!("AWS_REGION must be a Region such as eu-central-1, not {region:?}")))
        }
        // The SDK needs a Region to sign with, and a stand-in accepts any.
        None if endpoint.is_some_and(is_loopback) => Ok(Some(LOCAL_REGION.to_owned())),
        region => Ok(region),
    }
}

/// Whether a Region has only characters that a part of a host name may have. The SDK inserts the
/// Region into the host name of the endpoint, so other characters could redirect requests.
fn is_host_label(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn no_region() -> ConnectError {
    ConnectError("AWS_REGION must name the Region of the table".to_owned())
}

/// The endpoint from the options or the environment, if any.
fn endpoint(options: &DynamoOptions) -> Result<Option<Uri>, ConnectError> {
    let named = options.endpoint.clone();
    let named = named.or_else(|| either("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"));
    named.as_deref().map(parse_endpoint).transpose()
}

fn parse_endpoint(text: &str) -> Result<Uri, ConnectError> {
    let uri: Option<Uri> = text.parse().ok();
    let usable = uri.filter(|uri| {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        matches!(uri.scheme_str(), Some("http" | "https"))
            && !host.is_empty()
            && !host.contains('@')
            && uri.query().is_none()
    });
    usable.ok_or_else(|| {
        ConnectError(format!(
            "the endpoint of DynamoDB must be a URL such as http://127.0.0.1:8000, not {text:?}"
        ))
    })
}

/// Credentials for a loopback endpoint. A stand-in does not check them.
fn local_credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "loopback endpoint")
}

fn is_loopback(endpoint: &Uri) -> bool {
    endpoint.scheme_str() == Some("http") && has_loopback_host(endpoint)
}

fn has_loopback_host(endpoint: &Uri) -> bool {
    let host = endpoint.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(endpoint: &str) -> DynamoOptions {
        let mut options = DynamoOptions::new("t");
        options.endpoint = Some(endpoint.to_owned());
        options
    }

    #[test]
    fn only_a_plain_loopback_endpoint_counts_as_local() {
        for local in ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:1"] {
            assert!(is_loopback(&local.parse().unwrap()), "{local}");
        }
        for other in ["https://127.0.0.1", "http://localhost.example", "http://10.0.0.1"] {
            assert!(!is_loopback(&other.parse().unwrap()), "{other}");
        }
    }

    #[tokio::test]
    async fn the_error_for_a_malformed_endpoint_quotes_it() {
        let malformed = ["localhost:8000", "ftp://a", "http://", "/x", "http://a?b", "http://u:p@a"];
        for endpoint in malformed {
            let error = connect(&options(endpoint)).await.unwrap_err().to_string();
            assert!(error.contains("http://") && error.contains(endpoint), "{error}");
        }
    }

    #[tokio::test]
    async fn a_malformed_region_is_rejected() {
        let mut options = DynamoOptions::new("t");
        options.region = Some("evil.example/".to_owned());
        let error = connect(&options).await.unwrap_err().to_string();
        assert!(error.contains("AWS_REGION"), "{error}");
    }
}
