//! Settings that apply to requests on any transport; `serve` and AWS Lambda share them.

use std::time::Duration;

use aurora_discovery_http::{InvalidScopes, Scope, Scopes, ServiceOptions};
use clap::{Args, value_parser};

/// How requests are handled.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// The requests that need an API key: `read` (listing and watching peers), `write`
    /// (registering, renewing and deregistering them), or `read,write`; by default, no request
    /// needs one.
    #[arg(long, env = "AURORA_REQUIRE_KEY", value_name = "SCOPES", value_parser = required_scopes)]
    pub require_key: Option<Scopes>,
    /// Omit the CORS headers, which allow requests from web pages of other origins.
    #[arg(long, env = "AURORA_NO_CORS")]
    pub no_cors: bool,
    /// How long a request may take before the client gets 503.
    #[arg(long, env = "AURORA_REQUEST_TIMEOUT", default_value_t = ServiceOptions::default().request_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=86_400))]
    pub request_timeout: u64,
    /// Also log successful requests.
    #[arg(long, env = "AURORA_LOG_REQUESTS")]
    pub log_requests: bool,
}

impl ServiceArgs {
    /// The options of the service. Either all successful requests are logged or none.
    pub fn options(&self) -> ServiceOptions {
        let mut options = ServiceOptions::default();
        options.require_key = self.require_key.unwrap_or_default();
        options.cors = !self.no_cors;
        options.request_timeout = Duration::from_secs(self.request_timeout);
        // 0 logs no successful request, and 1 logs each.
        options.log_one_in = self.log_requests.into();
        options
    }
}

fn required_scopes(text: &str) -> Result<Scopes, String> {
    match Scopes::parse(text) {
        Ok(scopes) if !scopes.has(Scope::Admin) => Ok(scopes),
        Ok(_) => Err("must be read, write or read,write; administration always needs a key".to_owned()),
        Err(InvalidScopes) => Err("must be read, write or read,write".to_owned()),
    }
}
