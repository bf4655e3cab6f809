//! The real disk.

use std::fs::{DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fstatvfs, openat, renameat, unlinkat};
use rustix::io::retry_on_intr;

use super::{Disk, DiskFile, DiskLock, FileId};

/// Only the user of the service may read the files, because they contain the hashes of lease tokens
/// next to what peers published.
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The file that earlier releases lock instead of the directory. It is not removed when the lock is
/// released, because that would race with the next holder.
const LOCK_NAME: &str = "lock";

/// A directory in the file system.
#[derive(Debug)]
pub struct StdDisk {
    path: PathBuf,
    /// The directory that was opened. Names are resolved in it and not by the path, which may lead
    /// to another directory by now.
    directory: File,
}

impl StdDisk {
    /// Opens the directory at `path`. A missing directory and its missing parents are created with
    /// permissions for this user only.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = std::path::absolute(path.into())?;
        let missing: Vec<_> = path.ancestors().take_while(|ancestor| !ancestor.is_dir()).collect();
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&path)?;
        // Without this, a power loss could remove the new directories together with synced files in
        // them.
        for parent in missing.iter().filter_map(|created| created.parent()) {
            File::open(parent)?.sync_all()?;
        }
        let directory = File::open(&path)?;
        Ok(Self { path, directory })
    }

    fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC;
        Ok(retry_on_intr(|| openat(&self.directory, name, flags, FILE_MODE))?.into())
    }
}

impl Disk for StdDisk {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        // The lock has its own handle of the directory, so that dropping the handle releases the
        // lock.
        let directory = self.open_with(".", OFlags::RDONLY | OFlags::DIRECTORY)?;
        // The lock on this file keeps out earlier releases, which lock only the file. It also keeps
        // out processes on other machines, because network file systems share the locks of files,
        // but not those of directories.
        let file = self.open_with(LOCK_NAME, OFlags::RDWR | OFlags::CREATE)?;
        let is_locked = try_lock(&directory)? && try_lock(&file)?;
        Ok(is_locked.then(|| Box::new(FileLocks { _held: [directory, file] }) as Box<dyn DiskLock>))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            // All files of the store have names in UTF-8, so other names are ignored.
            names.extend(entry?.file_name().to_str().map(str::to_owned));
        }
        Ok(names)
    }

    fn free(&self) -> io::Result<u64> {
        let system = fstatvfs(&self.directory)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(StdFile(self.open_with(name, OFlags::RDWR)?)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(StdFile(self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?)))
    }

    fn find(&self, name: &str) -> io::Result<Option<FileId>> {
        match self.path.join(name).metadata() {
            Ok(metadata) => Ok(Some(file_id(&metadata))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }
}

fn file_id(metadata: &Metadata) -> FileId {
    FileId { device: metadata.dev(), number: metadata.ino() }
}

/// Returns `false` if another process holds the lock.
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The locks are tied to the open files, so they are released when the process dies.
struct FileLocks {
    _held: [File; 2],
}

impl DiskLock for FileLocks {}

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

    fn id(&self) -> io::Result<FileId> {
        Ok(file_id(&self.0.metadata()?))
    }
}
