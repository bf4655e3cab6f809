//! The real disk, accessed through the standard library.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::PathBuf;

use super::{Disk, DiskFile, DiskLock};

/// Only the user of the service may read the files, because they contain the hashes of lease tokens
/// next to what peers published.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The lock file. It is not removed when the lock is released, because that would race with the
/// next holder.
const LOCK_NAME: &str = "lock";

/// A directory in the file system.
#[derive(Debug)]
pub struct StdDisk {
    directory: PathBuf,
}

impl StdDisk {
    /// Uses `directory`. A missing directory and its missing parents are created with permissions
    /// for this user only.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = std::path::absolute(directory.into())?;
        let missing: Vec<_> = directory.ancestors().take_while(|ancestor| !ancestor.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&directory)?;
        // Without this, a power loss could remove the new directories together with synced files in
        // them.
        for parent in missing.iter().filter_map(|created| created.parent()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Disk for StdDisk {
    fn location(&self) -> String {
        self.directory.display().to_string()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = options().create(true).truncate(false).open(self.path(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(FileLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.directory.read_dir()? {
            // Journal and checkpoint names are UTF-8, so other names are ignored.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn free(&self) -> io::Result<u64> {
        let system = rustix::fs::statvfs(&self.directory)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(StdFile(options().open(self.path(name))?)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(StdFile(options().create(true).truncate(true).open(self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE_MODE);
    options
}

/// The lock is tied to the open file, so it is released when the process dies.
struct FileLock {
    _file: File,
}

impl DiskLock for FileLock {}

struct StdFile(File);

impl DiskFile for StdFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
