#![doc = include_str!("../README.md")]
//!
//! # Liveness
//!
//! `expires_at` alone decides whether a peer is live. Every operation compares it with `now`, and
//! no code recomputes it from the time at which the peer was last seen.

mod address_policy;
mod block;
mod change;
mod cursor;
mod diverse;
mod error;
mod holder;
mod limits;
mod lock;
mod metric;
mod nonce;
mod operator;
mod peer_state;
mod query;
mod registry;
mod signed;
mod source;
mod standing;
mod store;
#[cfg(feature = "store-clock")]
mod store_clock;
mod web_origin;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use address_policy::{AddressPolicy, UnknownPolicy};
pub use block::{Block, is_subject};
pub use change::{
    Changes, ChangesPage, Delta, LoggedChange, PositionLookup, Watch, WatchEvent, WatchRead, Watcher,
};
pub use cursor::{Cursor, Position};
pub use diverse::{CANDIDATES_PER_PEER, choose_diverse, diverse_halves, interleave};
pub use error::Error;
pub use holder::{Claim, Holder, TokenHash};
pub use limits::{InvalidLimits, Limits, SignaturePolicy, Writes};
pub use lock::{Lock, Signature, SignedPeer, Signing};
pub use metric::{MetricValue, StoreMetric};
pub use peer_state::{ExportPage, Import, PeerState};
pub use query::{Page, Query, Total};
pub use registry::{Caller, Discovered, GrantedLease, Registered, Registry};
pub use source::{Network, Source, WideNetwork};
pub use standing::{Held, Proof, Replacement, Standing};
pub use store::{
    ArchetypeCensus, BlockList, Census, Enumeration, Evicted, ExceededLimit, PutRequest, PutResult, Removal,
    Renewal, Store, StoreError, Swept,
};
#[cfg(feature = "store-clock")]
pub use store_clock::{Moment, StoreClock};
pub use web_origin::{OriginHash, WebOrigin};
