//! How a client is set up.

use std::time::Duration;

use reqwest::Url;

use crate::Error;

/// How a client is set up; [`ClientOptions::new`] has sensible values for all but the endpoint.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Where the service answers, as `http://host:port` or `https://host/stage`: a path in front is kept.
    pub endpoint: String,
    /// How long one attempt may take, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// How often a call is tried again after failures that may pass (no connection, 429, 500, 502, 503, 504).
    pub retries: u32,
    /// How long a call may take in all: no attempt begins later, and no wait for one ends later.
    pub patience: Duration,
    /// The certificates (PEM) that a server's must descend from; `None`: those that the system trusts.
    pub ca_certificates: Option<Vec<u8>>,
    /// What the client says it is, in the header `User-Agent`.
    pub user_agent: String,
}

impl ClientOptions {
    /// The options of a client of the service at `endpoint`.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            timeout: Duration::from_secs(10),
            retries: 3,
            patience: Duration::from_secs(30),
            ca_certificates: None,
            user_agent: concat!("aurora-client/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The endpoint, parsed.
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
