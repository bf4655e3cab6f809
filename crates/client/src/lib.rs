//! A client for Aurora Discovery, and a lease keeper.
//!
//! [`Client`] sends the requests of the contract and retries them where that is useful.
//! [`LeaseKeeper`] keeps one peer registered: it renews the lease at the interval that the service
//! requests, recovers from failures, and registers the peer again if the service no longer knows
//! it.

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
