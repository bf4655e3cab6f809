//! Opens damaged journal directories. None may cause a panic.
//!
//! An input is a list of edits to a checkpoint and two journals. Afterwards, valid checksums may be
//! written into the damaged files, so that the damage reaches the code behind the checks. Without
//! such checksums, the journal must not return a record that was never written.
#![no_main]

use std::cell::OnceCell;
use std::sync::Arc;

use aurora_discovery_embedded::testing::{Hooks, Journal, JournalOptions, LossyDisk};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["checkpoint-0000000002", "journal-0000000002", "journal-0000000003"];
/// The offset of the first frame in a file, in bytes.
const FRAMES_AT: usize = 1024;
/// The size of a frame's header in bytes.
const FRAME_HEADER: usize = 24;
/// The contents of every record. It is short, so that tens of thousands of runs a second are
/// possible.
const RECORD: [u8; 40] = [0x5A; 40];

/// The size in bytes from which on [`Edit::Repeat`] does nothing, because longer files make runs
/// slow and find nothing new.
const MAX_FILE: usize = 1 << 16;

/// What is done to a directory before it is opened.
#[derive(Arbitrary, Debug)]
struct Damage {
    /// The number of a file (modulo the number of files), an offset in it (modulo its length), and
    /// the edit there.
    edits: Vec<(u8, u16, Edit)>,
    /// Which files are missing.
    missing: [bool; NAMES.len()],
    /// Whether valid checksums are written into the files after the edits.
    sealed: bool,
    /// Whether the journal is opened with the option to drop damaged records.
    drop_damaged: bool,
}

/// An edit of a file at an offset.
#[derive(Arbitrary, Debug)]
enum Edit {
    /// Overwrites one byte.
    Write(u8),
    /// Overwrites this many bytes with zeros.
    Zero(u8),
    /// Inserts up to 256 bytes.
    Insert(Vec<u8>),
    /// Appends a copy of the rest of the file, unless the file has [`MAX_FILE`] bytes or more.
    Repeat,
    /// Removes the rest of the file.
    Cut,
}

struct NoHooks;

impl Hooks<()> for NoHooks {
    fn failed(&self, _undos: Vec<()>) {}
    fn healed(&self) {}
}

thread_local! {
    static UNDAMAGED: OnceCell<[Vec<u8>; NAMES.len()]> = const { OnceCell::new() };
}

fuzz_target!(|damage: Damage| {
    let mut files = UNDAMAGED.with(|undamaged| undamaged.get_or_init(directory).clone());
    for (file, at, edit) in &damage.edits {
        apply(edit, &mut files[usize::from(*file) % NAMES.len()], usize::from(*at));
    }
    let disk = LossyDisk::new(0);
    for ((name, mut contents), missing) in NAMES.into_iter().zip(files).zip(damage.missing) {
        if damage.sealed {
            seal(&mut contents);
        }
        if !missing {
            disk.write_file(name, contents);
        }
    }
    let mut options = JournalOptions::default();
    options.drop_damaged = damage.drop_damaged;
    options.preallocate = 0;
    let check = |record: &[u8]| assert!(damage.sealed || record == RECORD, "a record that was never written");
    drop(Journal::recover(Arc::new(disk), options, check));
});

fn apply(edit: &Edit, contents: &mut Vec<u8>, at: usize) {
    let at = at % contents.len().max(1);
    match edit {
        Edit::Write(byte) => contents.iter_mut().skip(at).take(1).for_each(|target| *target = *byte),
        Edit::Zero(length) => {
            contents.iter_mut().skip(at).take(usize::from(*length)).for_each(|target| *target = 0)
        }
        Edit::Insert(bytes) => drop(contents.splice(at..at, bytes.iter().copied().take(256))),
        Edit::Repeat if contents.len() < MAX_FILE => contents.extend_from_within(at..),
        Edit::Repeat => {}
        Edit::Cut => contents.truncate(at),
    }
}

/// The contents of an undamaged checkpoint and two journals.
fn directory() -> [Vec<u8>; 3] {
    let disk = LossyDisk::new(0);
    let mut options = JournalOptions::default();
    options.preallocate = 256;
    let (recovered, _) = Journal::recover(Arc::new(disk.clone()), options, |_| {}).unwrap();
    let journal = recovered.start(NoHooks).unwrap();
    let mut checkpoint = journal.begin_checkpoint().unwrap();
    for _ in 0..4 {
        checkpoint.push(&RECORD).unwrap();
    }
    checkpoint.finish().unwrap();
    append(&journal);
    drop(journal.begin_checkpoint().unwrap());
    append(&journal);
    NAMES.map(|name| disk.contents(name).unwrap())
}

fn append(journal: &Journal<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..3 {
        runtime.block_on(journal.append(&RECORD, Some(())).unwrap()).unwrap();
    }
}

/// Writes valid checksums to the first copy of the file header, and to every frame that can still
/// be found.
///
/// The layout is that of the crate's `journal/format.rs`. In the file header, bytes 24 to 31 are
/// the salt of the file, and bytes 40 to 43 the checksum of those before. In a frame header, bytes
/// 4 to 7 are the length of the payload, 16 to 19 its checksum, and 20 to 23 the checksum of those
/// before.
fn seal(contents: &mut [u8]) {
    if contents.len() < FRAMES_AT {
        return;
    }
    let checksum = crc(&[0; 8], &contents[..40]);
    contents[40..44].copy_from_slice(&checksum);
    let salt: [u8; 8] = contents[24..32].try_into().unwrap();
    let mut at = FRAMES_AT;
    while let Some(header) = contents.get(at..at + FRAME_HEADER) {
        let len = u32::from_le_bytes(header[4..8].try_into().unwrap());
        let end = at.saturating_add(FRAME_HEADER).saturating_add(usize::try_from(len).unwrap());
        if let Some(payload) = contents.get(at + FRAME_HEADER..end) {
            let checksum = crc(&salt, payload);
            contents[at + 16..at + 20].copy_from_slice(&checksum);
        }
        let checksum = crc(&salt, &contents[at..at + 20]);
        contents[at + 20..at + 24].copy_from_slice(&checksum);
        at = end;
    }
}

fn crc(salt: &[u8], bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(bytes);
    hasher.finalize().to_le_bytes()
}
