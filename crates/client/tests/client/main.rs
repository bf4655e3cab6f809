//! The client against a service that misbehaves as told.

// clippy.toml exempts test functions; their helpers need the same.
#![allow(clippy::unwrap_used)]

mod calls;
mod keeper;
mod server;
