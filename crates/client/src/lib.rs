//! A client of Aurora Discovery, and the keeper of a lease.
//!
//! [`Client`] makes the contract's calls, once each or again where trying again helps. [`LeaseKeeper`] keeps one peer
//! registered: it renews the lease when the service wants it, comes back after failures, and registers again when the
//! service has forgotten the peer.

mod client;
mod enumeration;
mod error;
mod keeper;
mod options;
mod probe;
mod retry;
mod transport;

pub use client::Client;
pub use enumeration::Enumeration;
pub use error::Error;
pub use keeper::{Event, LeaseKeeper};
pub use options::ClientOptions;
pub use probe::{Probe, Probed};
