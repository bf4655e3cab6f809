//! The store of Aurora Discovery on one DynamoDB table, for networks that one machine is not enough for.
//!
//! Any number of processes share the table. `docs/decisions/0003-dynamodb-model.md` says how peers lie in it, what each
//! verb costs, and how stale a list may be; in short: a peer is one item, each of its archetypes a small marker item, and one
//! index lists both by a keyed hash, so that a sample is a few windows of that hash. Conditional writes carry the lease
//! rules; heartbeats that need not be written are not.
//!
//! What is remembered in memory (recent writes, a small network's snapshot) is held by the real clock, because it stands
//! in for a service that runs by it; leases are judged by `now` alone.

mod census;
mod client;
mod core;
mod counters;
mod create;
mod enumerate;
mod failure;
#[cfg(feature = "stand-in")]
mod fill;
mod item;
mod lane;
mod memory;
mod options;
mod page;
mod recent;
mod register;
mod remove;
mod renew;
mod sample;
mod size;
mod snapshot;
mod store;
mod sweep;
mod table;
mod window;

pub use aws_sdk_dynamodb::Client;
pub use client::{ConnectError, connect};
pub use counters::Units;
pub use create::create_table;
#[cfg(feature = "stand-in")]
pub use fill::IndexKeys;
pub use options::DynamoOptions;
pub use store::{CAPABILITIES, Capabilities, DynamoStore};
pub use table::{ACTIONS, INDEX};
