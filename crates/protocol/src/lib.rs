//! The words of the Aurora Discovery contract, as types.
//!
//! Everything that crosses the wire is parsed here, once, on construction: a [`PeerId`] that exists is a valid one.
//! The crate is pure: it knows no HTTP, no store and no clock.

mod address;
mod archetype;
mod discover;
mod encoded_peer;
mod error;
mod follow;
mod heartbeats;
mod metadata;
mod network;
mod object;
mod peer;
mod peer_id;
mod peer_list;
mod request;
mod response;
mod time;
mod token;

pub use address::Address;
pub use archetype::{Archetype, Archetypes};
pub use discover::{DiscoverBounds, DiscoverRequest, Fill, Order, View};
pub use encoded_peer::EncodedPeer;
pub use error::{Code, Invalid, Refusal};
pub use follow::{Change, ChangeKind, DeltaFigures, DeltaResponse, Departed, FollowRequest, delta_body};
pub use heartbeats::{Heartbeat, HeartbeatResult, HeartbeatsRequest, HeartbeatsResponse, PeerIds};
pub use metadata::Metadata;
pub use network::{ArchetypePeers, NetworkRates, NetworkResponse};
pub use peer::{Peer, PeerJson, Registration};
pub use peer_id::PeerId;
pub use peer_list::PeerList;
pub use request::{DeregisterRequest, HeartbeatRequest, MAX_BODY_BYTES, RegisterRequest};
pub use response::{
    DeregisterResponse, DiscoverResponse, DiscoveredPage, ErrorBody, HealthResponse, HeartbeatResponse,
    PageFigures, RegisterResponse, with_peers,
};
pub use time::{Timestamp, Ttl};
pub use token::LeaseToken;
