//! Tests of the client with a scripted service that misbehaves.

// clippy.toml exempts test functions, but not the helpers that they call.
#![allow(clippy::unwrap_used)]

mod endpoints;
mod holder;
mod keeper;
mod mail;
mod moved;
mod peer;
mod requests;
mod server;
mod signed;
mod token_file;
mod two_peers;
#[cfg(feature = "watch")]
mod watch;
