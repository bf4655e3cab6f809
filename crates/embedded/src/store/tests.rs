//! The store seen from inside; what it answers to its callers is proven by the conformance suite.

mod crowd;
mod failure;
mod fixture;
mod follow;
mod life;
mod model;
