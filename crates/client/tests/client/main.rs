//! Tests of the client with a scripted service that misbehaves.

// clippy.toml exempts test functions, but not the helpers that they call.
#![allow(clippy::unwrap_used)]

mod keeper;
mod requests;
mod server;
mod two_peers;
#[cfg(feature = "watch")]
mod watch;
