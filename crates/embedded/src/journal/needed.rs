//! The files that the next start needs, and whether it would find them.
//!
//! A directory that is removed, moved or replaced while it is open does not make a write or a sync
//! fail: they go to files that no later start finds. So the journal compares the files under their
//! names with the open ones, before it acknowledges anything.

use std::sync::Arc;

use parking_lot::Mutex;

use super::batch::Unavailable;
use super::file_name;
use crate::disk::{Disk, DiskFile, FileId};

const MOVED: &str = "the data directory or a file in it was removed or replaced while the service \
    was running; move it back, or restore a backup and restart the service";

pub(crate) struct NeededFiles {
    disk: Arc<dyn Disk>,
    files: Mutex<Vec<NeededFile>>,
}

struct NeededFile {
    name: String,
    generation: u64,
    id: FileId,
}

impl NeededFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, files: Mutex::default() }
    }

    pub(crate) fn add_journal(&self, generation: u64, file: &dyn DiskFile) -> std::io::Result<()> {
        self.add(file_name::journal(generation), generation, file)
    }

    pub(crate) fn add_checkpoint(&self, generation: u64, file: &dyn DiskFile) -> std::io::Result<()> {
        self.add(file_name::checkpoint(generation), generation, file)
    }

    /// Removes the files of earlier generations from the list. They are no longer needed, because a
    /// checkpoint of this generation is complete.
    pub(crate) fn forget_before(&self, generation: u64) {
        self.files.lock().retain(|file| file.generation >= generation);
    }

    /// Checks that the next start would find the open files.
    ///
    /// # Errors
    /// If one is gone or was replaced, or if the disk fails.
    pub(crate) fn check(&self) -> Result<(), Unavailable> {
        for NeededFile { name, id, .. } in self.files.lock().iter() {
            match self.disk.find(name) {
                Ok(Some(found)) if found == *id => {}
                Ok(_) => return Err(Unavailable::misplaced(MOVED)),
                Err(error) => return Err(Unavailable::unwritable(&error)),
            }
        }
        Ok(())
    }

    fn add(&self, name: String, generation: u64, file: &dyn DiskFile) -> std::io::Result<()> {
        let id = file.id()?;
        let mut files = self.files.lock();
        files.retain(|file| file.name != name);
        files.push(NeededFile { name, generation, id });
        Ok(())
    }
}
