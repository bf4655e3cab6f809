//! The peer that `register` and `keep` publish.

use aurora_discovery_protocol::{Address, Archetypes, LeaseToken, Metadata, PeerId, RegisterRequest, Ttl};
use clap::Args;

use crate::failure::Failure;

/// What a peer publishes.
#[derive(Clone, Debug, Args)]
pub(crate) struct PeerArgs {
    /// The peer's id: 1 to 128 visible ASCII characters.
    #[arg(value_parser = PeerId::parse)]
    pub(crate) peer_id: PeerId,
    /// Where the peer can be reached: an IP address or a DNS name; left out: the address that the service sees.
    #[arg(long)]
    pub(crate) address: Option<String>,
    /// The peer's port; 0: it can't be dialled.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// An archetype that the peer carries; may repeat.
    #[arg(long = "archetype", value_name = "ARCHETYPE")]
    pub(crate) archetypes: Vec<String>,
    /// What the peer says about itself: a JSON object.
    #[arg(long, value_name = "JSON", value_parser = Metadata::parse)]
    pub(crate) metadata: Option<Metadata>,
    /// The lease to ask for; left out: the service's default.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ttl: Option<u32>,
    /// The token of the lease that is registered over, where the address has changed.
    #[arg(long, env = "AURORA_LEASE_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = LeaseToken::parse)]
    pub(crate) lease_token: Option<LeaseToken>,
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
            lease_token: self.lease_token,
            discover: None,
        })
    }
}
