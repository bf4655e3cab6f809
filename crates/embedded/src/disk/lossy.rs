//! An in-memory disk that loses power, runs full, fails and stalls on demand.

mod state;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use fastrand::Rng;
use parking_lot::{Condvar, Mutex};

use super::{Disk, DiskFile, DiskLock, FileId};
use state::{Change, FileState, NameChange, Power, State, index};

/// An in-memory disk for tests. Clones share the same contents, like two handles on one directory.
///
/// It separates the contents that a reader sees from those that are durable.
/// [`LossyDisk::lose_power`] takes the durable contents and adds a random selection of the unsynced
/// sectors and directory changes. The old disk rejects all later operations.
#[derive(Clone)]
pub struct LossyDisk {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl LossyDisk {
    /// An empty disk whose random choices are determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, BTreeMap::new(), BTreeMap::new())
    }

    /// The same disk with syncs that succeed but do not make anything durable. Every test of
    /// durability must fail on such a disk.
    pub fn without_sync(self) -> Self {
        self.shared.state.lock().syncs = false;
        self
    }

    /// Cuts the power now and returns the disk in the state after the power loss. Every later
    /// operation on this disk fails.
    pub fn lose_power(&self) -> Self {
        let mut state = self.shared.state.lock();
        state.power = Power::Off;
        self.shared.changed.notify_all();
        let mut rng = Rng::with_seed(state.rng.u64(..));
        let names = state.surviving_names(&mut rng);
        let files = names.values().map(|id| (*id, state.surviving_file(*id, &mut rng))).collect();
        let syncs = state.syncs;
        let found = Self::with(rng.u64(..), names, files);
        found.shared.state.lock().syncs = syncs;
        found
    }

    /// Cuts the power after `operations` more operations, so the point of failure depends on the
    /// code and not on time.
    pub fn lose_power_after(&self, operations: u64) {
        self.shared.state.lock().power = Power::FailsAfter(operations);
    }

    /// Whether the power was cut.
    pub fn has_lost_power(&self) -> bool {
        matches!(self.shared.state.lock().power, Power::Off)
    }

    /// Limits the total size of all files in bytes. `None` removes the limit.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.shared.state.lock().capacity = capacity;
    }

    /// Total size of all files in bytes.
    pub fn used(&self) -> u64 {
        self.shared.state.lock().used()
    }

    /// Number of writes so far that failed for lack of space.
    pub fn refused_writes(&self) -> u64 {
        self.shared.state.lock().refused_writes
    }

    /// Makes every file sync fail from now on, or succeed again. A failed sync keeps a random part
    /// of the writes, and the rest is lost permanently.
    pub fn set_sync_fails(&self, fails: bool) {
        self.shared.state.lock().sync_fails = fails;
    }

    /// Refuses the next `attempts` to lock the disk, as if another process held the lock.
    pub fn refuse_locks(&self, attempts: u32) {
        self.shared.state.lock().refused_locks = attempts;
    }

    /// Moves the directory away, as seen by a process that starts now, or back to its place. Open
    /// handles keep working.
    pub fn set_moved_away(&self, moved_away: bool) {
        self.shared.state.lock().moved_away = moved_away;
    }

    /// Blocks all file syncs until the returned guard is dropped.
    pub fn stall(&self) -> Stall {
        self.shared.state.lock().stalled = true;
        Stall { disk: self.clone() }
    }

    /// The current contents of a file, as a reader sees them.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.shared.state.lock();
        let id = state.names.get(name)?;
        Some(state.files.get(id)?.visible.clone())
    }

    /// A separate disk with the same files, all durable.
    pub fn copy(&self) -> Self {
        let copy = Self::new(0);
        let names: Vec<String> = self.shared.state.lock().names.keys().cloned().collect();
        for name in names {
            if let Some(contents) = self.contents(&name) {
                copy.write_file(&name, contents);
            }
        }
        copy
    }

    /// Stores a file durably, for tests that damage one.
    pub fn write_file(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.shared.state.lock();
        let id = state.new_file();
        state.files.insert(id, FileState { durable: bytes.clone(), visible: bytes, unsynced: Vec::new() });
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }

    fn with(seed: u64, names: BTreeMap<String, u64>, files: BTreeMap<u64, FileState>) -> Self {
        let next_file = files.keys().next_back().map_or(0, |last| last + 1);
        let state = State {
            files,
            durable_names: names.clone(),
            names,
            unsynced_names: Vec::new(),
            next_file,
            locked: false,
            refused_locks: 0,
            moved_away: false,
            syncs: true,
            power: Power::On,
            capacity: None,
            sync_fails: false,
            refused_writes: 0,
            stalled: false,
            blocked_syncs: 0,
            rng: Rng::with_seed(seed),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() }) }
    }
}

impl Disk for LossyDisk {
    fn location(&self) -> String {
        "a lossy disk".to_owned()
    }

    fn lock(&self) -> io::Result<Option<Box<dyn DiskLock>>> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        if state.refused_locks > 0 {
            state.refused_locks -= 1;
            return Ok(None);
        }
        if state.locked {
            return Ok(None);
        }
        state.locked = true;
        Ok(Some(Box::new(LossyLock { disk: self.clone() })))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn free(&self) -> io::Result<u64> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        Ok(state.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(LossyFile { disk: self.clone(), id }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        let id = match state.names.get(name) {
            Some(id) => *id,
            None => state.new_file(),
        };
        let file = state.files.entry(id).or_default();
        file.apply(Change::SetLen(0));
        state.names.insert(name.to_owned(), id);
        state.unsynced_names.push(NameChange::Insert(name.to_owned(), id));
        Ok(Box::new(LossyFile { disk: self.clone(), id }))
    }

    /// Does not count as an operation, so that calls of it do not move the point at which the power
    /// is cut.
    fn find(&self, name: &str) -> io::Result<Option<FileId>> {
        let state = self.shared.state.lock();
        state.check_power()?;
        Ok(state.names.get(name).filter(|_| !state.moved_away).copied().map(file_id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        state.unsynced_names.push(NameChange::Rename(from.to_owned(), to.to_owned(), id));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced_names.push(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.count_operation()?;
        if state.syncs {
            state.durable_names = state.names.clone();
            state.unsynced_names.clear();
        }
        Ok(())
    }
}

struct LossyFile {
    disk: LossyDisk,
    id: u64,
}

impl LossyFile {
    fn apply(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.shared.state.lock();
        // The write during which the power is cut may be stored in part.
        if !matches!(state.power, Power::Off) {
            state.files.entry(self.id).or_default().apply(change);
        }
        state.count_operation()
    }
}

impl DiskFile for LossyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let space = {
            let state = self.disk.shared.state.lock();
            let len = state.files.get(&self.id).map_or(0, |file| file.visible.len() as u64);
            state.capacity.map_or(u64::MAX, |capacity| len + capacity.saturating_sub(state.used()))
        };
        let fits = index(space.saturating_sub(offset)).min(bytes.len());
        // A full disk stores the part that fits, as a file system may do.
        self.apply(Change::Write { offset, bytes: bytes[..fits].to_vec() })?;
        if fits < bytes.len() {
            self.disk.shared.state.lock().refused_writes += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.shared.state.lock();
        state.count_operation()?;
        let Some(file) = state.files.get(&self.id) else { return Ok(0) };
        let rest = file.visible.get(index(offset)..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.shared.state.lock();
        while state.stalled && !matches!(state.power, Power::Off) {
            state.blocked_syncs += 1;
            self.disk.shared.changed.notify_all();
            self.disk.shared.changed.wait(&mut state);
            state.blocked_syncs -= 1;
        }
        state.count_operation()?;
        let State { files, rng, sync_fails, syncs, .. } = &mut *state;
        let file = files.entry(self.id).or_default();
        match (*sync_fails, *syncs) {
            (true, _) => {
                file.fail_sync(rng);
                Err(io::Error::other("simulated sync failure"))
            }
            (false, true) => {
                file.sync();
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.apply(Change::SetLen(len))
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.shared.state.lock();
        state.count_operation()?;
        Ok(state.files.get(&self.id).map_or(0, |file| file.visible.len() as u64))
    }

    fn id(&self) -> io::Result<FileId> {
        Ok(file_id(self.id))
    }
}

fn file_id(number: u64) -> FileId {
    FileId { device: 0, number }
}

struct LossyLock {
    disk: LossyDisk,
}

impl DiskLock for LossyLock {}

impl Drop for LossyLock {
    fn drop(&mut self) {
        self.disk.shared.state.lock().locked = false;
    }
}

/// Blocks file syncs until it is dropped.
pub struct Stall {
    disk: LossyDisk,
}

impl Stall {
    /// Waits until a sync is blocked. All writes that the sync covers have then been made, and no
    /// later writes.
    pub fn wait(&self) {
        let mut state = self.disk.shared.state.lock();
        while state.blocked_syncs == 0 {
            self.disk.shared.changed.wait(&mut state);
        }
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.disk.shared.state.lock().stalled = false;
        self.disk.shared.changed.notify_all();
    }
}
