//! The peer that `register` and `keep` publish.

use aurora_discovery_protocol::{Address, Archetypes, Metadata, PeerId, RegisterRequest, Ttl};
use clap::Args;

use crate::failure::Failure;
use crate::key::KeyArgs;
use crate::token::TokenArgs;

/// What a peer publishes.
#[derive(Clone, Debug, Args)]
pub(crate) struct PeerArgs {
    /// The peer's id: 1 to 128 visible ASCII characters.
    #[arg(value_parser = PeerId::parse)]
    pub(crate) peer_id: PeerId,
    /// The address of the peer: an IP address or a DNS name; by default the address from which the
    /// service sees the request.
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// The peer's port; 0 means that it accepts no connections.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// An archetype of the peer; may be repeated.
    #[arg(long = "archetype", value_name = "ARCHETYPE")]
    pub(crate) archetypes: Vec<String>,
    /// Metadata that the peer publishes: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = Metadata::parse)]
    pub(crate) metadata: Option<Metadata>,
    /// The lease to request; by default that of the service, which also sets the bounds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u32>,
    #[command(flatten)]
    pub(crate) token: TokenArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

impl PeerArgs {
    /// The registration that these arguments describe.
    pub(crate) fn registration(self) -> Result<RegisterRequest, Failure> {
        let address = self.address.as_deref().map(Address::parse).transpose();
        Ok(RegisterRequest {
            peer_id: self.peer_id,
            address: address.map_err(|rule| Failure::flag("--address", rule))?.flatten(),
            port: self.port,
            archetypes: Archetypes::parse(&self.archetypes)
                .map_err(|rule| Failure::flag("--archetype", rule))?,
            metadata: self.metadata.unwrap_or_default(),
            ttl: self.ttl.map(Ttl::from_secs),
            lease_token: self.token.token,
            token_only: false,
            mail: false,
            discover: None,
        })
    }
}
