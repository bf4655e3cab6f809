#![cfg_attr(feature = "watch", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "watch"), doc = "A client for Aurora Discovery, and a lease keeper.")]

mod addresses;
mod api_key_file;
mod certificate;
mod client;
mod connections;
mod endpoint;
mod endpoints;
mod enumeration;
mod error;
mod keeper;
mod key_file;
mod options;
mod private_file;
mod probe;
mod retry;
mod signer;
mod tls;
mod token_file;
mod transport;
#[cfg(feature = "watch")]
mod watch;

pub use api_key_file::ApiKeyFile;
pub use client::Client;
pub use enumeration::Enumeration;
pub use error::Error;
pub use keeper::{Event, KeeperOptions, LeaseKeeper};
pub use key_file::KeyFile;
pub use options::ClientOptions;
pub use probe::{Probe, ProbeResponse};
pub use signer::Signer;
pub use token_file::TokenFile;
#[cfg(feature = "watch")]
pub use watch::{Watch, WatchEvent};

// All types that occur in requests and responses.
pub use aurora_discovery_protocol::{
    Address, ApiKey, Archetype, ArchetypePeers, Archetypes, BlockReason, BlockRequest, BlockResponse,
    BlocksResponse, ChangeKind, ChangesRequest, Code, DeltaInfo, DeltaResponse, DeregisterRequest,
    DeregisterResponse, DiscoverRequest, DiscoverRequestBuilder, DiscoverResponse, DiscoveredPage, ErrorBody,
    EvictResponse, Fill, Freshness, HealthResponse, HeartbeatEntries, HeartbeatEntry, HeartbeatRequest,
    HeartbeatResponse, HeartbeatResult, HeartbeatsRequest, HeartbeatsResponse, Host, IceServer, Invalid,
    LeaseToken, ListedBlock, Mail, MailId, MailRequest, MailResponse, MailboxRequest, MailboxResponse,
    MessageTerms, Metadata, NetworkRates, NetworkResponse, Order, PageInfo, Peer, PeerId, PublicKey,
    RecordContent, Refusal, RegisterRequest, RegisterRequestBuilder, RegisterResponse, SecretKey,
    SignedMessage, SignedRecord, SignedRegisterRequest, SourcePrefix, Subject, SubjectRequest, Timestamp,
    Ttl, UnblockResponse, View,
};

// The libraries whose types appear in this API, and the runtime that it needs, so that callers can
// use the same versions.
pub use futures_util::{Stream, StreamExt, TryStreamExt};
pub use {reqwest, tokio};
