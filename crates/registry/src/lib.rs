//! The rules of an Aurora Discovery registry, and the contract of the stores that keep its peers.
//!
//! A peer holds a *lease*: the time-limited right to be listed. Registering acquires the lease and
//! heartbeats renew it; without them it ends. Everything else is a view of the live leases.
//! `expires_at` alone decides whether a peer is live. Time is an argument of every rule and every
//! store method: the crate has no clock, no HTTP, and does not know where peers are kept.

mod cursor;
mod error;
mod figure;
mod follow;
mod holder;
mod limits;
mod query;
mod registry;
mod source;
mod store;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use cursor::{Cursor, Position};
pub use error::Error;
pub use figure::{Figure, FigureKind};
pub use follow::{Changed, Changes, Delta, Followed, Occurrence, Taken, Told, Watch, Watching};
pub use holder::{Claim, Holder, TokenHash};
pub use limits::{InvalidLimits, Limits};
pub use query::{Page, Query, Total};
pub use registry::{Discovered, Registered, Registry, Renewed};
pub use source::Source;
pub use store::{Census, Enumeration, Placement, Put, Removal, Renewal, Shortage, Store, StoreError, Swept};
