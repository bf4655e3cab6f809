//! Tests of the store's internals. The conformance suite covers what callers see.

mod bounds;
mod concurrency;
mod failure;
mod fixture;
mod follow;
mod holder;
mod lifecycle;
mod model;
mod replica;
