//! The HTTP API over real sockets, with the embedded store in memory.

// A failing helper fails its test. clippy exempts only test functions from these lints, not their
// helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod audit;
mod contention;
mod faults;
mod headers;
mod holders;
mod keys;
mod limits;
mod log;
mod mail;
mod metrics;
mod network;
mod open_network;
mod openapi;
mod operators;
mod page;
mod proxies;
mod rates;
mod shutdown;
mod signed;
mod support;
mod time;
mod transport;
mod watch;
mod wire;
