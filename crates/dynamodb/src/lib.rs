//! The store of Aurora Discovery in one DynamoDB table, for networks that are too large for one
//! machine.
//!
//! Any number of processes share the table. `docs/decisions/0003-dynamodb-model.md` describes the
//! items, the cost of each operation, and how stale a list may be. In short: a peer is one item,
//! and each of its archetypes is a small marker item. One index lists both, ordered by a keyed
//! hash, so a sample reads a few windows of that hash. Conditional writes enforce the lease rules.
//! Heartbeats are written only when necessary.
//!
//! Data that is cached in memory (recent writes, the snapshot of a small network) expires by the
//! real clock, because DynamoDB runs by it. Leases are judged only by `now`.

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
