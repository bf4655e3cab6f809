//! Tests of the store's internals. The conformance suite covers what callers see.

mod crowd;
mod failure;
mod fixture;
mod follow;
mod life;
mod model;
