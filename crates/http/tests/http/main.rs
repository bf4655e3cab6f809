//! The contract over real sockets, with the embedded store in memory.

mod document;
mod discovering;
mod headers;
mod limits;
mod metrics;
mod peers;
mod refusals;
mod stopping;
mod support;
mod transport;
