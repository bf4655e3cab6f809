//! The lease token, from the command line or from a file.

use std::path::PathBuf;

use aurora_discovery_client::TokenFile;
use aurora_discovery_protocol::LeaseToken;
use clap::Args;

use crate::failure::Failure;

/// How the subcommands of a client prove that they hold a registration.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenArgs {
    /// The lease token of the peer, which proves from any address that you hold its registration.
    #[arg(long, alias = "lease-token", env = "AURORA_LEASE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = LeaseToken::parse)]
    pub(crate) token: Option<LeaseToken>,
    /// A file with the lease token. `register` and `keep` create it and keep it up to date.
    #[arg(long, value_name = "PATH", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The file, if one is named.
    pub(crate) fn file(&self) -> Option<TokenFile> {
        self.token_file.as_ref().map(TokenFile::new)
    }

    /// The token of a peer that is registered already. `None` if the arguments name no token. Fails
    /// if the file does not exist or can't be read.
    pub(crate) fn require(self) -> Result<Option<LeaseToken>, Failure> {
        let Some(file) = self.file() else { return Ok(self.token) };
        match file.read()? {
            Some(token) => Ok(Some(token)),
            None => {
                Err(Failure::flag("--token-file", format_args!("{} does not exist", file.path().display())))
            }
        }
    }
}
