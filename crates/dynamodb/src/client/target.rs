//! Where calls go, and in whose name.

use http::Uri;

use super::credentials::Credentials;
use super::error::ConnectError;
use crate::options::DynamoOptions;

/// The Region of a loopback endpoint, which knows none.
const LOCAL_REGION: &str = "us-east-1";

/// One endpoint of one Region, and the credentials for it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) endpoint: Uri,
    pub(super) region: String,
    pub(super) credentials: Credentials,
}

/// What the options say or, where they are silent, the environment that `variable` looks into.
pub(super) async fn find(
    options: &DynamoOptions,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Target, ConnectError> {
    let either = |first, second| variable(first).or_else(|| variable(second));
    let endpoint =
        options.endpoint.clone().or_else(|| either("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"));
    let endpoint = endpoint.as_deref().map(url).transpose()?;
    let mut region = options.region.clone().or_else(|| either("AWS_REGION", "AWS_DEFAULT_REGION"));
    let mut credentials = Credentials::of_variables(&variable);
    if endpoint.as_ref().is_some_and(is_loopback) {
        credentials = credentials.or_else(|| Some(Credentials::for_nobody()));
        region = region.or_else(|| Some(LOCAL_REGION.to_owned()));
    }
    let (region, credentials) = match (region, credentials) {
        (Some(region), Some(credentials)) => (region, credentials),
        (region, credentials) => elsewhere(region, credentials).await?,
    };
    let endpoint = match endpoint {
        Some(endpoint) => endpoint,
        None => endpoint_of(&region)?,
    };
    Ok(Target { endpoint, region, credentials })
}

/// What the environment does not say, from wherever AWS's tools find it.
#[cfg(feature = "credential-chain")]
async fn elsewhere(
    region: Option<String>,
    credentials: Option<Credentials>,
) -> Result<(String, Credentials), ConnectError> {
    let found = super::credentials::chain(region).await;
    let region = found.region().map(ToString::to_string).ok_or_else(no_region)?;
    let credentials = match credentials {
        Some(credentials) => credentials,
        None => Credentials::from_chain(&found)?,
    };
    Ok((region, credentials))
}

#[cfg(not(feature = "credential-chain"))]
async fn elsewhere(
    region: Option<String>,
    _: Option<Credentials>,
) -> Result<(String, Credentials), ConnectError> {
    let missing = if region.is_some() { Credentials::missing() } else { no_region() };
    Err(missing)
}

fn no_region() -> ConnectError {
    ConnectError("AWS_REGION must name the Region of the table".to_owned())
}

/// AWS's own endpoint of a Region.
fn endpoint_of(region: &str) -> Result<Uri, ConnectError> {
    let is_label = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if region.is_empty() || !is_label(region) {
        return Err(ConnectError(format!(
            "AWS_REGION must be a Region such as eu-central-1, not {region:?}"
        )));
    }
    let domain = match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    url(&format!("https://dynamodb.{region}.{domain}"))
}

fn url(text: &str) -> Result<Uri, ConnectError> {
    let uri: Option<Uri> = text.parse().ok();
    let whole = uri.filter(|uri| {
        let host = uri.authority().map_or("", |authority| authority.as_str());
        matches!(uri.scheme_str(), Some("http" | "https"))
            && !host.is_empty()
            && !host.contains('@')
            && uri.path() == "/"
            && uri.query().is_none()
    });
    whole.ok_or_else(|| {
        ConnectError(format!(
            "the endpoint of DynamoDB must be a URL such as http://127.0.0.1:8000, without a path, not {text:?}"
        ))
    })
}

fn is_loopback(endpoint: &Uri) -> bool {
    endpoint.scheme_str() == Some("http")
        && matches!(endpoint.host(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(endpoint: Option<&str>, set: &[(&str, &str)]) -> Result<Target, String> {
        let mut options = DynamoOptions::new("t");
        options.endpoint = endpoint.map(str::to_owned);
        let value =
            |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        find(&options, value).await.map_err(|error| error.to_string())
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    #[tokio::test]
    async fn only_a_loopback_endpoint_goes_without_credentials() {
        for local in ["http://127.0.0.1:8000", "http://localhost:8000/", "http://[::1]:1"] {
            let target = found(Some(local), &[]).await.unwrap();
            assert_eq!(target.region, LOCAL_REGION);
        }
        for other in ["https://127.0.0.1", "http://localhost.example", "http://10.0.0.1"] {
            assert!(!is_loopback(&other.parse().unwrap()), "{other}");
        }
    }

    #[tokio::test]
    async fn the_environment_names_region_credentials_and_endpoint() {
        for (region, host) in [
            ("eu-central-1", "dynamodb.eu-central-1.amazonaws.com"),
            ("cn-north-1", "dynamodb.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "dynamodb.eusc-de-east-1.amazonaws.eu"),
        ] {
            let target = found(None, &[&KEYS[..], &[("AWS_REGION", region)]].concat()).await.unwrap();
            assert_eq!(target.endpoint.to_string(), format!("https://{host}/"));
            assert_eq!(target.region, region);
        }
        let by_default =
            [&KEYS[..], &[("AWS_DEFAULT_REGION", "us-west-2"), ("AWS_ENDPOINT_URL", "http://10.0.0.1")]];
        let target = found(None, &by_default.concat()).await.unwrap();
        assert_eq!((target.region.as_str(), target.endpoint.host()), ("us-west-2", Some("10.0.0.1")));
    }

    #[tokio::test]
    async fn what_is_malformed_is_named() {
        for wrong in
            ["localhost:8000", "ftp://a", "http://", "/x", "http://a/b", "http://a?b", "http://u:p@a"]
        {
            let error = found(Some(wrong), &KEYS).await.unwrap_err();
            assert!(error.contains("http://") && error.contains(wrong), "{error}");
        }
        let error = found(None, &[&KEYS[..], &[("AWS_REGION", "evil.example/")]].concat()).await.unwrap_err();
        assert!(error.contains("AWS_REGION"), "{error}");
    }
}
