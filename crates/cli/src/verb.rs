//! The verbs of a client, one file each.

pub(crate) mod deregister;
pub(crate) mod discover;
pub(crate) mod health;
pub(crate) mod heartbeat;
pub(crate) mod keep;
pub(crate) mod network;
mod page;
pub(crate) mod register;

use std::fs;
use std::io::{self, Write as _};
use std::time::Duration;

use aurora_client::{Client, ClientOptions};
use aurora_protocol::{Address, Archetypes, RegisterRequest, Ttl};
use serde::Serialize;

use crate::args::{ConnectArgs, PeerArgs};
use crate::escape::escape_json;
use crate::failure::Failure;

impl ConnectArgs {
    /// The client that these arguments ask for.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let mut options = ClientOptions::new(&self.endpoint);
        options.timeout = Duration::from_secs(self.timeout);
        options.patience = options.patience.max(options.timeout);
        options.retries = self.retries;
        options.user_agent = concat!("aurora-discovery/", env!("CARGO_PKG_VERSION")).to_owned();
        if let Some(path) = &self.ca_cert {
            let pem = fs::read(path)
                .map_err(|error| Failure::flag("--ca-cert", format_args!("{}: {error}", path.display())))?;
            options.ca_certificates = Some(pem);
        }
        Client::new(&options).map_err(|error| Failure::Usage(error.to_string()))
    }
}

impl PeerArgs {
    /// The registration that these arguments describe.
    fn registration(self) -> Result<RegisterRequest, Failure> {
        let address = self.address.as_deref().map(Address::parse).transpose();
        Ok(RegisterRequest {
            peer_id: self.peer_id,
            address: address.map_err(|rule| Failure::flag("--address", rule))?.flatten(),
            port: self.port,
            archetypes: Archetypes::parse(&self.archetypes)
                .map_err(|rule| Failure::flag("--archetype", rule))?,
            metadata: self.metadata.unwrap_or_default(),
            ttl: self.ttl.map(Ttl::from_secs),
            lease_token: self.lease_token,
            discover: None,
        })
    }
}

/// Prints one line.
pub(crate) fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

/// Prints an answer as one line of JSON.
pub(crate) fn print_json(answer: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(answer)
        .map_err(|error| Failure::Other(format!("the answer can't be written as JSON: {error}")))?;
    print(escape_json(&json))
}
