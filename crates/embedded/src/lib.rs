//! The embedded store of Aurora Discovery: an index in memory and a journal on disk.

pub mod checkpoint;
pub mod disk;
pub mod journal;
