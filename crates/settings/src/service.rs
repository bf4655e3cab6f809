//! How requests are answered, whichever way they arrive: `serve` and AWS Lambda have these in common.

use std::time::Duration;

use aurora_http::ServeOptions;
use clap::{Args, value_parser};

/// How requests are answered.
#[derive(Clone, Debug, Args)]
pub struct ServiceArgs {
    /// Leave out the headers that let browsers call from other origins.
    #[arg(long, env = "AURORA_NO_CORS")]
    pub no_cors: bool,
    /// How long a response may take before it becomes a 503.
    #[arg(long, env = "AURORA_REQUEST_TIMEOUT", default_value_t = ServeOptions::default().request_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=86_400))]
    pub request_timeout: u64,
    /// Log successful requests too.
    #[arg(long, env = "AURORA_LOG_REQUESTS")]
    pub log_requests: bool,
}

impl ServiceArgs {
    /// Whether browsers may call from other origins.
    pub fn cors(&self) -> bool {
        !self.no_cors
    }

    /// How long a response may take before it becomes a 503.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout)
    }
}
