#![doc = include_str!("../README.md")]

mod blocks;
mod check;
mod confirmation;
mod connection;
mod counters;
mod entry;
mod failure;
mod follower;
mod keys;
mod lease;
mod options;
mod queue;
mod shared;
mod store;
mod writer;

pub use failure::OpenError;
pub use options::ValkeyOptions;
pub use store::ValkeyStore;
