//! The options of a client.

use std::time::Duration;

use reqwest::Url;

use crate::Error;

/// The options of a client. [`ClientOptions::new`] sets defaults for everything except the
/// endpoint.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The URL of the service, `http://host:port` or `https://host/stage`. Its path is the prefix
    /// of all requests.
    pub endpoint: String,
    /// The time limit of one attempt, from connecting to the last byte of the response.
    pub timeout: Duration,
    /// The maximum number of retries after transient failures (no connection, 429, 500, 502, 503,
    /// 504).
    pub retries: u32,
    /// The time limit of a request including its retries. No attempt starts after it, and no wait
    /// ends after it.
    pub patience: Duration,
    /// The certificates (PEM) of the authorities to trust. `None` means the authorities that the
    /// system trusts.
    pub ca_certificates: Option<Vec<u8>>,
    /// The value of the `User-Agent` header.
    pub user_agent: String,
}

impl ClientOptions {
    /// Default options for the service at `endpoint`.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            timeout: Duration::from_secs(10),
            retries: 3,
            patience: Duration::from_secs(30),
            ca_certificates: None,
            user_agent: concat!("aurora-discovery-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The parsed endpoint.
    pub(crate) fn base(&self) -> Result<Url, Error> {
        let bad = |rule: &str| Error::Options(format!("the endpoint {:?} {rule}", self.endpoint));
        if !self.endpoint.is_ascii() {
            return Err(bad("must be ASCII: write an international host name as xn--…"));
        }
        let base = Url::parse(&self.endpoint)
            .map_err(|_| bad("must be a URL such as http://127.0.0.1:8080 or https://host/stage"))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(bad("must begin with http:// or https://"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(bad("must end with its path: no ? and no #"));
        }
        Ok(base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_of_http_with_any_path() {
        for good in [
            "http://127.0.0.1:8080",
            "https://x.execute-api.us-east-1.amazonaws.com/dev/",
            "http://[::1]:1",
            "http://xn--mller-kva.example",
        ] {
            assert!(ClientOptions::new(good).base().is_ok(), "{good}");
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
        ] {
            let error = ClientOptions::new(bad).base().unwrap_err();
            assert!(error.to_string().contains("must"), "{bad}: {error}");
        }
    }
}
