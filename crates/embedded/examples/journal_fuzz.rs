//! Opens damaged directories, as many as asked for: none may end in a panic or in records that were never written.
//!
//! `cargo run --release -p aurora-embedded --example journal_fuzz [RUNS] [SEED]`. Half of the damage is sealed with right
//! checksums afterwards, so that it reaches what lies behind them.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use aurora_embedded::disk::LossyDisk;
use aurora_embedded::journal::{Hooks, Journal, JournalOptions};
use fastrand::Rng;

const RUNS: u64 = 1_000_000;
const NAMES: [&str; 3] = ["checkpoint-0000000002", "journal-0000000002", "journal-0000000003"];
const FRAMES_AT: usize = 1024;
const FRAME_HEADER: usize = 24;
/// Long enough to have several pieces, short enough for a million runs a minute.
const RECORD: [u8; 40] = [0x5A; 40];

struct NoHooks;

impl Hooks<()> for NoHooks {
    fn failed(&self, _undos: Vec<()>) {}
    fn healed(&self) {}
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().unwrap());
    let (runs, seed) = (arguments.next().unwrap_or(RUNS), arguments.next().unwrap_or(0));
    let mut rng = Rng::with_seed(seed);
    let whole = directory();
    let (mut opened, mut refused) = (0u64, 0u64);
    for _ in 0..runs {
        let disk = LossyDisk::new(0);
        let mut sealed = false;
        for (name, contents) in NAMES.iter().zip(&whole) {
            let mut contents = contents.clone();
            if rng.u8(..2) == 0 {
                damage(&mut contents, &mut rng);
                if rng.bool() {
                    seal(&mut contents);
                    sealed = true;
                }
            }
            if rng.u8(..32) > 0 {
                disk.put(name, contents);
            }
        }
        let mut options = JournalOptions::default();
        options.drop_damaged = rng.bool();
        options.preallocate = 0;
        let check = |record: &[u8]| assert!(sealed || record == RECORD, "a record that was never written");
        match Journal::recover(Arc::new(disk), options, check) {
            Ok(_) => opened += 1,
            Err(_) => refused += 1,
        }
    }
    println!("{runs} damaged directories: {opened} opened, {refused} refused, no panic (seed {seed})");
}

/// A checkpoint and two journals.
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

fn damage(contents: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..contents.len().max(1));
        match rng.u8(..6) {
            0 => contents.truncate(at),
            1 => contents.extend_from_within(at..),
            2 => contents.extend((0..rng.usize(..200)).map(|_| rng.u8(..))),
            3 => contents.iter_mut().skip(at).take(rng.usize(..64)).for_each(|byte| *byte = 0),
            _ => contents.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.u8(..)),
        }
    }
}

/// Gives the file header and every frame that can still be found right checksums.
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
