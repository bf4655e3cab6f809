//! The list of blocks, in its own file.
//!
//! The list is not in the journal. It changes a few times a month, and no record of the journal
//! depends on it, so its order among the records does not matter. With its own file, the format of
//! the journal need not change. Each change of the list replaces the whole file.

use std::io;
use std::sync::Arc;

use aurora_discovery_registry::BlockList;
use parking_lot::Mutex;

use crate::disk::Disk;

const NAME: &str = "blocks";
/// The name of the file until it is complete.
const NEW_NAME: &str = "blocks.new";

/// The list, and the directory that contains its file.
pub(crate) struct BlockFile {
    /// `None` if the store is in memory only.
    disk: Option<Arc<dyn Disk>>,
    list: Mutex<BlockList>,
}

impl BlockFile {
    /// A list in memory only. It is lost when the process ends.
    pub(crate) fn in_memory() -> Self {
        Self { disk: None, list: Mutex::default() }
    }

    /// Reads the list. If the directory has no such file, the list is empty.
    pub(crate) fn load(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let text = match disk.list()?.iter().any(|name| name == NAME) {
            true => read(&*disk)?,
            false => String::new(),
        };
        Ok(Self { disk: Some(disk), list: Mutex::new(BlockList { version: 0, text }) })
    }

    pub(crate) fn list(&self) -> BlockList {
        self.list.lock().clone()
    }

    /// Replaces the list if its version is `version`, and returns whether it did. Blocks until the
    /// new list is durable. After an error, the list in memory is unchanged, and the next start may
    /// find the old list or the new one.
    pub(crate) fn replace(&self, text: &str, version: u64) -> io::Result<bool> {
        let mut list = self.list.lock();
        if list.version != version {
            return Ok(false);
        }
        if let Some(disk) = &self.disk {
            write(&**disk, text)?;
        }
        *list = BlockList { version: version.wrapping_add(1), text: text.to_owned() };
        Ok(true)
    }
}

fn read(disk: &dyn Disk) -> io::Result<String> {
    let file = disk.open(NAME)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    // If a part of the file is damaged, the other lines are still read.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(disk: &dyn Disk, text: &str) -> io::Result<()> {
    let file = disk.create(NEW_NAME)?;
    file.write_at(text.as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(NEW_NAME, NAME)?;
    disk.sync_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::StdDisk;

    fn open(directory: &tempfile::TempDir) -> BlockFile {
        BlockFile::load(Arc::new(StdDisk::new(directory.path()).unwrap())).unwrap()
    }

    #[test]
    fn the_list_is_replaced_as_a_whole_and_found_by_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = open(&directory);
        assert_eq!(file.list(), BlockList::default());
        assert!(file.replace("one\ntwo\n", 0).unwrap());
        assert!(!file.replace("three\n", 0).unwrap(), "another version");
        assert_eq!(open(&directory).list().text, "one\ntwo\n");
        assert!(file.replace("", 1).unwrap());
        assert_eq!(open(&directory).list().text, "");
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn a_list_that_can_not_be_written_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = open(&directory);
        assert!(file.replace("one\n", 0).unwrap());
        std::fs::create_dir(directory.path().join(NEW_NAME)).unwrap();
        assert!(file.replace("two\n", 1).is_err());
        assert_eq!((file.list().version, file.list().text.as_str()), (1, "one\n"));
    }
}
