//! The options of a client.

use std::fmt;
use std::time::Duration;

use aurora_discovery_protocol::ApiKey;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::Error;

/// The options of a client. [`ClientOptions::new`] and [`ClientOptions::with_endpoints`] set
/// defaults for everything except the endpoints.
///
/// ```
/// use std::time::Duration;
///
/// use aurora_discovery_client::{Client, ClientOptions};
///
/// let options = ClientOptions::new("https://discovery.example/dev")
///     .header("authorization", "Bearer secret")
///     .proxy("http://proxy.example:3128")
///     .timeout(Duration::from_secs(5));
/// assert!(!format!("{options:?}").contains("secret"));
/// let client = Client::new(options)?;
/// # Ok::<(), aurora_discovery_client::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ClientOptions {
    pub(crate) endpoints: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) patience: Duration,
    pub(crate) ca_certificates: Option<Vec<u8>>,
    pub(crate) user_agent: String,
    pub(crate) proxy: Option<String>,
    pub(crate) http_client: Option<reqwest::Client>,
    headers: Vec<(String, String)>,
}

impl ClientOptions {
    /// The default time limit of one attempt.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    /// The default of [`ClientOptions::patience`].
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
    /// The default number of retries.
    pub const DEFAULT_RETRIES: u32 = 3;

    /// Default options for the service at `endpoint`, `http://host:port` or `https://host/stage`.
    /// Its path is the prefix of all requests.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self::with_endpoints([endpoint])
    }

    /// Default options for a service with several endpoints, each as in [`ClientOptions::new`]. All
    /// of them must serve the same registry. The client starts at a random endpoint and stays with
    /// one that works. After a transient failure other than a rate limit (429), it moves on to the
    /// next endpoint, and waits only after all have failed. After 5 to 10 minutes, it returns to
    /// the endpoint that it started at.
    ///
    /// ```
    /// # use aurora_discovery_client::{Client, ClientOptions};
    /// let options = ClientOptions::with_endpoints(["https://a.example", "https://b.example"]).retries(5);
    /// let client = Client::new(options)?;
    /// // Without further options:
    /// let client = Client::new(["https://a.example", "https://b.example"])?;
    /// # Ok::<(), aurora_discovery_client::Error>(())
    /// ```
    pub fn with_endpoints(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            timeout: Self::DEFAULT_TIMEOUT,
            retries: Self::DEFAULT_RETRIES,
            patience: Self::DEFAULT_PATIENCE,
            ca_certificates: None,
            user_agent: concat!("aurora-discovery-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: None,
            http_client: None,
            headers: Vec::new(),
        }
    }

    /// The time limit of one attempt, from connecting to the last byte of the response. A watch is
    /// limited only until its stream begins.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The maximum number of retries after transient failures (no connection, a rejected
    /// certificate, no response in time, or the status 429, 500, 502, 503 or 504). With several
    /// endpoints, a retry is a whole round, in which the client tries every endpoint once.
    pub fn retries(self, retries: u32) -> Self {
        Self { retries, ..self }
    }

    /// How long after the start of a request the client may still start another attempt. If the
    /// wait before the next attempt would exceed this, the request fails at once. An attempt that
    /// has started may continue until [`ClientOptions::timeout`].
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Trusts only these authorities (PEM) instead of those that the system trusts.
    pub fn ca_certificates(self, pem: impl Into<Vec<u8>>) -> Self {
        Self { ca_certificates: Some(pem.into()), ..self }
    }

    /// The value of the `User-Agent` header.
    pub fn user_agent(self, user_agent: impl Into<String>) -> Self {
        Self { user_agent: user_agent.into(), ..self }
    }

    /// Sends a header with every request, for example a key that a proxy requires. `Debug` shows
    /// its name but not its value.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends this API key with every request, for a service that requires one.
    pub fn api_key(self, key: &ApiKey) -> Self {
        self.header("authorization", format!("Bearer {}", key.as_str()))
    }

    /// Sends all requests through this proxy, `http://user:password@host:port`, instead of the one
    /// that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
    pub fn proxy(self, url: impl Into<String>) -> Self {
        Self { proxy: Some(url.into()), ..self }
    }

    /// Sends requests through this HTTP client, for example to share its connections or to use
    /// another TLS library. The options `ca_certificates`, `user_agent` and `proxy` then have no
    /// effect, because the HTTP client has its own configuration. It also chooses among the
    /// addresses of a host name. It should not follow redirects, which turn a POST into a GET.
    pub fn http_client(self, client: reqwest::Client) -> Self {
        Self { http_client: Some(client), ..self }
    }

    /// The parsed endpoints.
    pub(crate) fn bases(&self) -> Result<Vec<Url>, Error> {
        if self.endpoints.is_empty() {
            return Err(Error::Options("a client needs at least one endpoint".to_owned()));
        }
        self.endpoints.iter().map(|endpoint| base(endpoint)).collect()
    }

    /// The parsed headers. `Debug` hides their values.
    pub(crate) fn headers(&self) -> Result<HeaderMap, Error> {
        let bad = |name: &str, rule: &str| Error::Options(format!("the header {name:?} {rule}"));
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| bad(name, "must have a name that HTTP allows"))?;
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| bad(name, "must have a value of visible ASCII characters and spaces"))?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        Ok(headers)
    }
}

fn base(endpoint: &str) -> Result<Url, Error> {
    let bad = |rule: &str| Error::Options(format!("the endpoint {endpoint:?} {rule}"));
    if !endpoint.is_ascii() {
        return Err(bad("must be ASCII: write an international host name as xn--…"));
    }
    let base = Url::parse(endpoint)
        .map_err(|_| bad("must be a URL such as http://127.0.0.1:8080 or https://host/stage"))?;
    if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
        return Err(bad("must begin with http:// or https://"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        // Errors contain the endpoint, so it must not contain a secret.
        let rule = "the endpoint must not contain a user name or password: send an authorization header";
        return Err(Error::Options(rule.to_owned()));
    }
    if base.query().is_some() || base.fragment().is_some() {
        return Err(bad("must end with its path: no ? and no #"));
    }
    Ok(base)
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        // A proxy's URL may contain a password.
        f.debug_struct("ClientOptions")
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("patience", &self.patience)
            .field("user_agent", &self.user_agent)
            .field("headers", &headers)
            .field("has_ca_certificates", &self.ca_certificates.is_some())
            .field("has_proxy", &self.proxy.is_some())
            .field("has_http_client", &self.http_client.is_some())
            .finish_non_exhaustive()
    }
}

impl From<&str> for ClientOptions {
    fn from(endpoint: &str) -> Self {
        Self::new(endpoint)
    }
}

impl From<String> for ClientOptions {
    fn from(endpoint: String) -> Self {
        Self::new(endpoint)
    }
}

impl From<&String> for ClientOptions {
    fn from(endpoint: &String) -> Self {
        Self::new(endpoint)
    }
}

impl From<Vec<String>> for ClientOptions {
    fn from(endpoints: Vec<String>) -> Self {
        Self::with_endpoints(endpoints)
    }
}

impl<const N: usize> From<[&str; N]> for ClientOptions {
    fn from(endpoints: [&str; N]) -> Self {
        Self::with_endpoints(endpoints)
    }
}

impl From<&Self> for ClientOptions {
    fn from(options: &Self) -> Self {
        options.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_url_with_any_path() {
        for good in [
            "http://127.0.0.1:8080",
            "https://x.execute-api.us-east-1.amazonaws.com/dev/",
            "http://[::1]:1",
            "http://xn--mller-kva.example",
        ] {
            assert!(ClientOptions::new(good).bases().is_ok(), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:8080",
            "localhost:8080",
            "ftp://host",
            "http://",
            "http://host/?key=1",
            "http://h/#f",
            "http://müller.example",
            "http://user:secret@host",
        ] {
            let error = ClientOptions::with_endpoints(["http://h", bad]).bases().unwrap_err();
            assert!(error.to_string().contains("must"), "{bad}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        let none = ClientOptions::from(Vec::new()).bases().unwrap_err();
        assert!(none.to_string().contains("at least one endpoint"), "{none}");
    }

    #[test]
    fn a_header_that_http_does_not_allow_is_refused_by_name() {
        for (name, value) in [("two words", "x"), ("", "x"), ("x-key", "secret\n")] {
            let error = ClientOptions::new("http://h").header(name, value).headers().unwrap_err();
            assert!(error.to_string().contains(&format!("{name:?} must")), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
