#![doc = include_str!("../README.md")]
//!
//! # Legacy clients and the legacy view
//!
//! *Legacy clients* are the Python agents and browser pages that were written for the original
//! Aurora discovery service. They must keep working unchanged. They expect exactly six keys per
//! peer (`peer_id`, `address`, `port`, `archetypes`, `last_seen` and `metadata`) and fail on any
//! other set of keys. They expect times as `YYYY-MM-DDTHH:MM:SS` in UTC, without a suffix. They
//! never register again after a failed heartbeat.
//!
//! The *legacy view* is the representation of a peer with exactly these six keys. It is the default
//! [`View`]. The *full view* ([`View::Full`]) adds two keys, and a third one for a peer that signed
//! its registration.

mod address;
mod admin;
mod api_key;
mod archetype;
mod builder;
mod change;
mod convert;
mod discover;
mod encoded_peer;
mod error;
mod heartbeat;
mod key;
mod mail;
mod malformed;
mod metadata;
mod network;
mod object;
mod peer;
mod peer_id;
mod peer_list;
mod request;
mod response;
mod signed;
mod source_prefix;
mod time;
mod token;

pub use address::{Address, Host};
pub use admin::{
    BlockReason, BlockRequest, BlockResponse, BlocksResponse, EvictResponse, ListedBlock, Subject,
    SubjectRequest, UnblockResponse,
};
pub use api_key::ApiKey;
pub use archetype::{Archetype, Archetypes};
pub use builder::{DiscoverRequestBuilder, RegisterRequestBuilder};
pub use change::{Change, ChangeKind, ChangesRequest, DeltaInfo, DeltaResponse, LeftEvent, delta_body};
pub use discover::{DiscoverBounds, DiscoverRequest, Fill, Order, View};
pub use encoded_peer::EncodedPeer;
pub use error::{Code, Invalid, Refusal};
pub use heartbeat::{
    Heartbeat, HeartbeatEntries, HeartbeatEntry, HeartbeatResult, HeartbeatsRequest, HeartbeatsResponse,
};
pub use key::{PublicKey, SecretKey};
pub use mail::{IceServer, Mail, MailId, MailRequest, MailResponse, MailboxRequest, MailboxResponse};
pub use metadata::Metadata;
pub use network::{ArchetypePeers, NetworkRates, NetworkResponse};
pub use peer::{Peer, PeerJson, Registration};
pub use peer_id::PeerId;
pub use peer_list::{FullView, PeerList};
pub use request::{DeregisterRequest, HeartbeatRequest, MAX_BODY_BYTES, RegisterRequest};
pub use response::{
    DeregisterResponse, DiscoverResponse, DiscoveredPage, ErrorBody, HealthResponse, HeartbeatResponse,
    PageInfo, RegisterResponse, page_body,
};
pub use signed::{
    Freshness, MessageTerms, RecordContent, RecordTerms, RegisterBody, SignedMessage, SignedRecord,
    SignedRegisterRequest, SignedTokenHash,
};
pub use source_prefix::SourcePrefix;
pub use time::{Timestamp, Ttl};
pub use token::LeaseToken;
