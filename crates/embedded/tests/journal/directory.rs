//! The directory on a real disk: its lock, and its removal or replacement while it is open.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aurora_discovery_embedded::OpenError;
use aurora_discovery_embedded::testing::{LossyDisk, StdDisk};
use tempfile::TempDir;

use super::{Event, Opened, open_disk, options, wait};

/// A directory `data` that tests remove or replace.
struct DataDirectory {
    parent: TempDir,
}

impl DataDirectory {
    fn new() -> Self {
        Self { parent: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    fn moved(&self) -> PathBuf {
        self.parent.path().join("moved")
    }

    fn open(&self) -> Result<Opened, OpenError> {
        open_disk(Arc::new(StdDisk::new(self.data()).unwrap()), options())
    }

    /// Moves the directory away and puts a copy in its place.
    fn replace_by_copy(&self) {
        fs::rename(self.data(), self.moved()).unwrap();
        copy(&self.moved(), &self.data());
    }

    fn move_back(&self) {
        fs::remove_dir_all(self.data()).unwrap();
        fs::rename(self.moved(), self.data()).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut contents: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    contents.sort();
    contents
}

fn checkpoint(opened: &Opened, record: &[u8]) {
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    checkpoint.push(record).unwrap();
    checkpoint.finish().unwrap();
}

/// Asserts that a record is refused because the directory was removed or replaced.
fn assert_refused(opened: &Opened) {
    let commit = opened.journal.append(b"refused", Some(1));
    let refusal = commit.and_then(wait).unwrap_err();
    assert!(refusal.reason().contains("removed or replaced"), "{refusal}");
    assert_eq!(opened.journal.health(), Err(refusal));
}

#[test]
fn no_removal_of_files_releases_the_lock() {
    let directory = DataDirectory::new();
    let opened = directory.open().unwrap();
    fs::remove_file(directory.data().join("lock")).unwrap();
    assert!(matches!(directory.open().err(), Some(OpenError::Locked { .. })));
    checkpoint(&opened, b"kept");
    fs::remove_file(directory.data().join("lock")).unwrap();
    assert!(matches!(directory.open().err(), Some(OpenError::Locked { .. })));
    drop(opened);
    assert_eq!(directory.open().unwrap().records, [b"kept"]);
}

/// Earlier releases lock only this file, and not the directory.
#[test]
fn a_locked_lock_file_is_respected() {
    let directory = DataDirectory::new();
    drop(directory.open().unwrap());
    let lock = fs::File::open(directory.data().join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(directory.open().err(), Some(OpenError::Locked { .. })));
    drop(lock);
    directory.open().unwrap();
}

#[test]
fn opening_waits_for_another_process_to_release_the_directory() {
    let disk = LossyDisk::new(1);
    disk.refuse_locks(3);
    assert!(matches!(open_disk(Arc::new(disk.clone()), options()).err(), Some(OpenError::Locked { .. })));
    let mut waiting = options();
    waiting.lock_wait = Duration::from_secs(3_600);
    open_disk(Arc::new(disk), waiting).unwrap();
}

#[test]
fn nothing_is_acknowledged_after_the_directory_was_removed() {
    let directory = DataDirectory::new();
    let opened = directory.open().unwrap();
    opened.append(b"before");
    fs::remove_dir_all(directory.data()).unwrap();
    assert_refused(&opened);
    assert!(opened.journal.begin_checkpoint().is_err());
}

#[test]
fn an_idle_journal_notices_that_a_needed_file_was_removed() {
    for name in ["checkpoint-0000000002", "journal-0000000002"] {
        let directory = DataDirectory::new();
        let opened = directory.open().unwrap();
        checkpoint(&opened, b"kept");
        fs::remove_file(directory.data().join(name)).unwrap();
        // The journal notices this within a second.
        while opened.journal.health().is_ok() {
            thread::yield_now();
        }
        assert_refused(&opened);
    }
}

#[test]
fn a_journal_heals_when_its_directory_is_moved_back() {
    let directory = DataDirectory::new();
    let opened = directory.open().unwrap();
    opened.append(b"before");
    directory.replace_by_copy();
    assert_refused(&opened);
    directory.move_back();
    while opened.events.recv().unwrap() != Event::Healed {}
    opened.append(b"after");
    drop(opened);
    assert_eq!(directory.open().unwrap().records, [&b"before"[..], b"after"]);
}

#[test]
fn a_checkpoint_leaves_a_directory_alone_that_replaced_its_own() {
    let directory = DataDirectory::new();
    let opened = directory.open().unwrap();
    opened.append(b"kept");
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    checkpoint.push(b"kept").unwrap();
    directory.replace_by_copy();
    let before = contents(&directory.data());
    checkpoint.finish().unwrap_err();
    assert_eq!(contents(&directory.data()), before);
    drop(opened);
    assert_eq!(directory.open().unwrap().records, [b"kept"]);
    directory.move_back();
    let records = directory.open().unwrap().records;
    assert!(records.iter().all(|record| record == b"kept") && !records.is_empty());
}
