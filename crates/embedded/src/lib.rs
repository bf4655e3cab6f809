//! The embedded store of Aurora Discovery: an index in memory and a journal on disk.
//!
//! The index answers everything; the journal is only read at a start. A change is made in the index and appended to the journal
//! under one lock, so both have one order, and acknowledged when the journal says that it is durable; if that fails, the
//! change is taken back.

pub mod changes;
pub mod checkpoint;
pub mod disk;
mod index;
pub mod journal;
mod record;
mod store;

pub use journal::OpenError;
pub use store::{EmbeddedOptions, EmbeddedStore, Restored};
