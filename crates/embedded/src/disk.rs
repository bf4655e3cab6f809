//! The file layer: everything that the journal asks of a disk, and nothing more.
//!
//! It is a trait because a durability rule can only be proven on a disk that forgets: `kill -9` keeps the page
//! cache, so a journal that never syncs passes it. The tests run on `LossyDisk`, which discards what was not synced.

#[cfg(any(test, feature = "testing"))]
mod lossy;
mod std_disk;

use std::io;

#[cfg(any(test, feature = "testing"))]
pub use lossy::{LossyDisk, Stall};
pub use std_disk::StdDisk;

/// One directory of files.
///
/// What a name leads to is durable after [`Disk::sync_dir`]; what a file holds, after [`DiskFile::sync_data`].
/// Between two syncs the disk may keep any part of what was written, in any order.
pub trait Disk: Send + Sync + 'static {
    /// Where this is, as a person would look for it; for messages only.
    fn location(&self) -> String;

    /// Takes the directory for this process alone until the answer is dropped; `None` if another holds it.
    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>>;

    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// How much room is left, in bytes.
    fn free(&self) -> io::Result<u64>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a file, or empties the one that has this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, atomically replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every creation, renaming and removal so far durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file. Offsets and lengths are in bytes.
#[allow(clippy::len_without_is_empty, reason = "nothing asks whether a file is empty")]
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`, extending the file where needed. After an error any part may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads into `buffer` from `offset`; answers how many bytes, fewer than asked only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written so far durable. After an error nothing written since the last success can be relied on.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file off at `len`, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;
}

/// Holds a directory for one process; dropping it lets go.
pub trait DiskLock: Send + Sync {}
