//! The file layer: the few disk operations that the journal and the list of blocks need.
//!
//! It is a trait because durability can only be tested on a disk that loses unsynced writes. A test
//! that ends a process by `kill -9` is not sufficient: the writes of the process stay in the page
//! cache, so even a journal that never syncs passes the test. The tests run on `LossyDisk`, which
//! discards a random part of what was not synced.

#[cfg(any(test, feature = "testing"))]
mod lossy;
mod std_disk;

use std::io;

#[cfg(any(test, feature = "testing"))]
pub use lossy::{LossyDisk, Stall};
pub use std_disk::StdDisk;

/// A directory of files. All operations except [`Disk::find`] apply to the directory that was
/// opened, even if its path leads to another directory by now.
///
/// Directory entries are durable after [`Disk::sync_dir`], and the contents of a file after
/// [`DiskFile::sync_data`]. Between two syncs the disk may keep any part of the writes, in any
/// order.
pub trait Disk: Send + Sync + 'static {
    /// The location of the directory, as an operator would look for it. For messages only.
    fn location(&self) -> String;

    /// Locks the directory itself for this process until the returned lock is dropped, so that no
    /// removal or renaming of files in it releases the lock. Returns `None` if another process
    /// holds the lock.
    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>>;

    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Free space in bytes.
    fn free(&self) -> io::Result<u64>;

    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a file, or truncates the existing file with this name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// The identity of the file that a new process would find under the path of the directory and
    /// this name, or `None` if it would find none.
    fn find(&self, name: &str) -> io::Result<Option<FileId>>;

    /// Renames a file. Atomically replaces an existing file with the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations, renames and removals so far durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// Identifies a file, whatever its name. No other file has the same identity while the file is open
/// or exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The number of the file on the device.
    pub number: u64,
}

/// An open file. Offsets and lengths are in bytes.
#[allow(clippy::len_without_is_empty, reason = "no caller checks whether a file is empty")]
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset` and extends the file if necessary. After an error, any
    /// part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reads into `buffer` from `offset` and returns the number of bytes read, which is smaller
    /// than the buffer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes all writes so far durable. After an error, no write since the last successful sync can
    /// be relied on.
    fn sync_data(&self) -> io::Result<()>;

    /// Truncates the file to `len`, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The file's length.
    fn len(&self) -> io::Result<u64>;

    /// The file's identity.
    fn id(&self) -> io::Result<FileId>;
}

/// The lock of a directory. Dropping it releases the directory.
pub trait DiskLock: Send + Sync {}
