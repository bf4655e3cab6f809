//! Tests of the store's internals. The conformance suite covers what callers see.

mod concurrency;
mod failure;
mod fixture;
mod follow;
mod lifecycle;
mod model;
