//! The state of a lossy disk, and what remains of it after a power loss.

use std::collections::BTreeMap;
use std::io;

use fastrand::Rng;

/// The unit that a disk writes atomically. A longer write can be torn between any two sectors.
const SECTOR: u64 = 512;

/// The whole state of a lossy disk, protected by its lock.
pub(super) struct State {
    pub(super) files: BTreeMap<u64, FileState>,
    pub(super) names: BTreeMap<String, u64>,
    pub(super) durable_names: BTreeMap<String, u64>,
    pub(super) unsynced_names: Vec<NameChange>,
    pub(super) next_file: u64,
    pub(super) locked: bool,
    pub(super) refused_locks: u32,
    pub(super) moved_away: bool,
    pub(super) syncs: bool,
    pub(super) power: Power,
    pub(super) capacity: Option<u64>,
    pub(super) sync_fails: bool,
    pub(super) refused_writes: u64,
    pub(super) stalled: bool,
    pub(super) blocked_syncs: u64,
    pub(super) rng: Rng,
}

pub(super) enum Power {
    On,
    /// The power fails after this number of operations.
    FailsAfter(u64),
    Off,
}

/// A file: the contents that a reader sees, the durable contents, and the changes between the two.
#[derive(Clone, Default)]
pub(super) struct FileState {
    pub(super) visible: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

#[derive(Clone)]
pub(super) enum NameChange {
    Insert(String, u64),
    Rename(String, String, u64),
    Remove(String),
}

impl State {
    /// Counts an operation, and cuts the power when it is due.
    pub(super) fn count_operation(&mut self) -> io::Result<()> {
        self.power = match self.power {
            Power::On => Power::On,
            Power::FailsAfter(0) | Power::Off => Power::Off,
            Power::FailsAfter(left) => Power::FailsAfter(left - 1),
        };
        self.check_power()
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        match self.power {
            Power::Off => Err(io::Error::other("simulated power loss")),
            Power::On | Power::FailsAfter(_) => Ok(()),
        }
    }

    pub(super) fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }

    pub(super) fn used(&self) -> u64 {
        self.names.values().filter_map(|id| self.files.get(id)).map(|file| file.visible.len() as u64).sum()
    }

    pub(super) fn surviving_names(&self, rng: &mut Rng) -> BTreeMap<String, u64> {
        let mut names = self.durable_names.clone();
        for change in self.unsynced_names.iter().filter(|_| rng.bool()) {
            match change {
                NameChange::Insert(name, id) => {
                    names.insert(name.clone(), *id);
                }
                NameChange::Rename(from, to, id) => {
                    names.remove(from);
                    names.insert(to.clone(), *id);
                }
                NameChange::Remove(name) => {
                    names.remove(name);
                }
            }
        }
        names
    }

    pub(super) fn surviving_file(&self, id: u64, rng: &mut Rng) -> FileState {
        let Some(file) = self.files.get(&id) else { return FileState::default() };
        let mut durable = file.durable.clone();
        apply_random_part(&mut durable, &file.unsynced, rng);
        FileState { visible: durable.clone(), durable, unsynced: Vec::new() }
    }
}

/// Applies a random part of `changes`, in order, sector by sector. A later change may be kept
/// although an earlier one is dropped, as if the disk had reordered them.
fn apply_random_part(durable: &mut Vec<u8>, changes: &[Change], rng: &mut Rng) {
    // The extremes (all changes, no changes) and the values in between must all be common.
    let share = [0.0, 0.1, 0.5, 0.9, 1.0][rng.usize(..5)];
    for change in changes {
        match change {
            Change::SetLen(len) if rng.f64() < share => set_len(durable, *len),
            Change::SetLen(_) => {}
            Change::Write { offset, bytes } => {
                for (at, piece) in sectors(*offset, bytes) {
                    if rng.f64() < share {
                        write(durable, at, piece);
                    }
                }
            }
        }
    }
}

/// Splits a write at sector boundaries and returns the pieces with their offsets.
fn sectors(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut at = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let len = index(SECTOR - at % SECTOR);
        let (piece, later) = rest.split_at(len.min(rest.len()));
        let start = at;
        at += piece.len() as u64;
        rest = later;
        (!piece.is_empty()).then_some((start, piece))
    })
}

fn write(contents: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (index(offset), index(offset) + bytes.len());
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[start..end].copy_from_slice(bytes);
}

fn set_len(contents: &mut Vec<u8>, len: u64) {
    contents.resize(index(len), 0);
}

/// Converts an offset. All contents are in memory, so every offset fits.
pub(super) fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl FileState {
    pub(super) fn apply(&mut self, change: Change) {
        match &change {
            Change::Write { offset, bytes } => write(&mut self.visible, *offset, bytes),
            Change::SetLen(len) => set_len(&mut self.visible, *len),
        }
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            match change {
                Change::Write { offset, bytes } => write(&mut self.durable, offset, &bytes),
                Change::SetLen(len) => set_len(&mut self.durable, len),
            }
        }
    }

    /// Simulates a failed sync. Afterwards, a kernel may treat all pages as written, so data that
    /// the failed sync did not write is never written.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        apply_random_part(&mut self.durable, &changes, rng);
    }
}
