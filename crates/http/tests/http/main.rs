//! The contract over real sockets, with the embedded store in memory.

// What a test can't do is a failed test; clippy exempts the tests themselves and not what supports
// them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod document;
mod faults;
mod headers;
mod limits;
mod log;
mod metrics;
mod network;
mod stopping;
mod support;
mod transport;
mod watching;
