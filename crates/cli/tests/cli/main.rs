//! Tests of the command as users see it. They run it with arguments, and check its exit code, its
//! standard output and its standard error.

// clippy.toml exempts test functions; their helpers need the same exemption.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod command;
mod contract;
mod cost;
mod demo;
mod doctor;
mod documentation;
mod drain;
#[cfg(feature = "packaging")]
mod generate;
mod keep;
mod keys;
mod manager;
mod proxy;
mod serve;
mod setting;
#[cfg(feature = "stand-in")]
mod shared_store;
#[cfg(feature = "stand-in")]
mod shared_table;
mod signed;
mod subcommand;
mod time;
mod tls;
mod transfer;
mod usage_error;
#[cfg(feature = "stand-in")]
mod valkey;
