//! How the client's subcommands connect to the service.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use aurora_discovery_client::{ApiKeyFile, Client, ClientOptions};
use clap::Args;

use crate::failure::Failure;

/// The endpoints of the service, and the options of the client.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectArgs {
    /// The URL of the service; it may have a path. A service may have several URLs, separated by
    /// commas or given by repeating the flag: the command moves on to the next if one fails.
    #[arg(
        long = "endpoint",
        env = "AURORA_ENDPOINT",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub(crate) endpoints: Vec<String>,
    /// Trust only the certificate authorities in this PEM file, not those of the system.
    #[arg(long, env = "AURORA_CA_CERT", value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// The file with the API key, if the service requires one.
    #[arg(long, env = "AURORA_API_KEY_FILE", value_name = "FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// The timeout of one attempt.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) timeout: u64,
    /// The number of retries after a transient failure, such as a failed connection or an
    /// overloaded service.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub(crate) retries: u32,
}

impl ConnectArgs {
    /// The client that these arguments describe.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let timeout = Duration::from_secs(self.timeout);
        let mut options = ClientOptions::with_endpoints(&self.endpoints)
            .timeout(timeout)
            .patience(timeout.max(ClientOptions::DEFAULT_PATIENCE))
            .retries(self.retries)
            .user_agent(concat!("aurora-discovery/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &self.ca_cert {
            let pem = fs::read(path)
                .map_err(|error| Failure::flag("--ca-cert", format_args!("{}: {error}", path.display())))?;
            options = options.ca_certificates(pem);
        }
        if let Some(path) = &self.api_key_file {
            options = options.api_key(&ApiKeyFile::new(path).read()?);
        }
        Client::new(options).map_err(|error| Failure::Usage(error.to_string()))
    }
}
