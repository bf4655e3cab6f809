#![doc = include_str!("../README.md")]
//!
//! # Time
//!
//! Whether a lease has ended depends only on the argument `now` of an operation. A caller can take
//! `now` from [`DynamoStore::clock`]. What the store caches in memory (its recent writes, the
//! snapshot of a small network) expires by the monotonic clock of the machine.

#[cfg(feature = "stand-in")]
mod bulk;
mod cache;
mod census;
mod client;
mod clock;
mod core;
mod counters;
mod create;
mod diverse;
mod enumerate;
mod estimate;
mod evict;
mod expression;
mod failure;
mod item;
mod lane;
mod mail;
mod marker;
mod options;
mod page;
mod recent;
mod register;
mod remove;
mod renew;
mod sample;
mod snapshot;
mod source_bound;
mod store;
mod sweep;
mod table;
mod transfer;
mod window;

pub use aws_sdk_dynamodb::Client;
#[cfg(feature = "stand-in")]
pub use bulk::IndexKeyCounts;
pub use client::{ConnectError, connect};
pub use counters::Units;
pub use create::create_table;
pub use options::{DEFAULT_MAX_ARCHETYPES_PER_PEER, DynamoOptions};
pub use store::{CAPABILITIES, Capabilities, DynamoStore};
pub use table::{ACTIONS, INDEX};
