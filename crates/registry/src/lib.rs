//! The rules of an Aurora Discovery registry, and the contract of the stores that keep its peers.
//!
//! A peer holds a *lease*: the time-limited right to be listed. Registering acquires the lease and
//! heartbeats renew it; without them it ends. Everything else is a view of the live leases.
//! `expires_at` alone decides whether a peer is live. Time is an argument of every rule and every
//! store method: the crate has no clock, no HTTP, and does not know where peers are kept.

mod change;
mod cursor;
mod error;
mod holder;
mod limits;
mod metric;
mod query;
mod registry;
mod source;
mod standing;
mod store;
mod web_origin;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use change::{
    Changes, ChangesPage, Delta, LoggedChange, PositionLookup, Watch, WatchEvent, WatchRead, Watcher,
};
pub use cursor::{Cursor, Position};
pub use error::Error;
pub use holder::{Claim, Holder, TokenHash};
pub use limits::{InvalidLimits, Limits};
pub use metric::{MetricValue, StoreMetric};
pub use query::{Page, Query, Total};
pub use registry::{Caller, Discovered, GrantedLease, Registered, Registry};
pub use source::{Network, Source};
pub use standing::{Held, Proof, Standing};
pub use store::{
    Census, Enumeration, ExceededLimit, PutRequest, PutResult, Removal, Renewal, Store, StoreError, Swept,
};
pub use web_origin::{OriginHash, WebOrigin};
