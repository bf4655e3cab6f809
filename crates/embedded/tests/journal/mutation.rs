//! Damages a directory in hundreds of ways. Each time, the journal is refused, or it opens with all
//! records before a reported truncation.

use aurora_discovery_embedded::OpenError;
use aurora_discovery_embedded::testing::LossyDisk;
use fastrand::Rng;

use super::{Opened, dropping_damage, open, open_with, options};

const CHECKPOINT: &str = "checkpoint-0000000002";
/// The journal file that is replayed directly after the checkpoint. [`LAST`] is replayed after it.
const EARLIER: &str = "journal-0000000002";
const LAST: &str = "journal-0000000003";

/// Mutations of each kind and file.
const ROUNDS: usize = 30;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Flip,
    Cut,
    Duplicate,
    Insert,
    Zero,
}

struct Directory {
    disk: LossyDisk,
    /// All records, in the order in which a start reads them.
    records: Vec<Vec<u8>>,
    /// The contents of the last journal up to the end of each batch.
    complete_ends: Vec<Vec<u8>>,
}

fn directory() -> Directory {
    let disk = LossyDisk::new(1);
    let mut rng = Rng::with_seed(1);
    let mut records = Vec::new();
    let mut next = || {
        let record = format!("record {} {}", records.len(), "x".repeat(rng.usize(..600))).into_bytes();
        records.push(record.clone());
        record
    };
    let opened = open(&disk);
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    for _ in 0..100 {
        checkpoint.push(&next()).unwrap();
    }
    checkpoint.finish().unwrap();
    (0..10).for_each(|_| opened.append(&next()));
    drop(opened);
    // Opening the journal again begins another epoch, to which the second half of the records
    // belongs.
    let opened = open(&disk);
    (0..10).for_each(|_| opened.append(&next()));
    drop(opened.journal.begin_checkpoint().unwrap());
    let mut complete_ends = Vec::new();
    for _ in 0..20 {
        complete_ends.push(used(&disk.contents(LAST).unwrap()).to_vec());
        opened.append(&next());
    }
    let disk = disk.copy();
    Directory { disk, records, complete_ends }
}

/// The bytes before the preallocated zeros.
fn used(contents: &[u8]) -> &[u8] {
    &contents[..contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)]
}

fn mutate(contents: &mut Vec<u8>, kind: Kind, rng: &mut Rng) {
    let len = used(contents).len();
    let at = rng.usize(..len);
    let until = rng.usize(at + 1..=len.min(at + 2_000));
    match kind {
        Kind::Flip => contents[at] ^= 1 << rng.u8(..8),
        Kind::Cut => contents.truncate(at),
        Kind::Duplicate => {
            let range = contents[at..until].to_vec();
            contents.splice(until..until, range);
        }
        Kind::Insert => {
            let bytes: Vec<u8> = (at..until).map(|_| rng.u8(..)).collect();
            contents.splice(at..at, bytes);
        }
        Kind::Zero => contents[at..until].fill(0),
    }
}

impl Directory {
    /// Opens the directory with another file under this name.
    fn check(&self, name: &str, contents: &[u8], mutation: &str) -> Outcome {
        let mutated = || {
            let disk = self.disk.copy();
            disk.write_file(name, contents.to_vec());
            disk
        };
        // If the file is cut exactly at the end of a batch, it looks like a file to which no more
        // was written. This loss cannot be detected.
        let ends_at_a_batch = name == LAST && self.complete_ends.iter().any(|end| end == used(contents));
        let dropped = open_with(&mutated(), dropping_damage()).unwrap();
        assert!(is_subsequence(&dropped.records, &self.records), "{mutation}");
        let reported = dropped.recovery.dropped_ranges > 0 || dropped.recovery.torn_bytes > 0;
        let complete = dropped.records.len() == self.records.len();
        assert!(complete || reported || ends_at_a_batch, "{mutation}: a silent loss while dropping damage");

        match open_with(&mutated(), options()) {
            Err(OpenError::Damaged { name: damaged, .. }) => {
                assert_eq!(damaged, name, "{mutation}");
                Outcome::Refused
            }
            Err(error) => panic!("{mutation}: {error}"),
            Ok(Opened { records, recovery, .. }) => {
                assert!(self.records.starts_with(&records), "{mutation}: {recovery:?}");
                if records.len() == self.records.len() {
                    return Outcome::Complete;
                }
                assert!(recovery.torn_bytes > 0 || ends_at_a_batch, "{mutation}: a silent loss");
                assert!(name == LAST, "{mutation}: only the end of the last file may be missing");
                Outcome::CutOff
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Complete,
    CutOff,
}

fn is_subsequence(found: &[Vec<u8>], all: &[Vec<u8>]) -> bool {
    let mut all = all.iter();
    found.iter().all(|record| all.any(|other| other == record))
}

#[test]
fn a_mutated_file_is_refused_or_read_up_to_a_reported_truncation() {
    let directory = directory();
    let mut rng = Rng::with_seed(2);
    let mut outcomes = Vec::new();
    for kind in [Kind::Flip, Kind::Cut, Kind::Duplicate, Kind::Insert, Kind::Zero] {
        for name in [CHECKPOINT, EARLIER, LAST] {
            for round in 0..ROUNDS {
                let mut contents = directory.disk.contents(name).unwrap();
                mutate(&mut contents, kind, &mut rng);
                outcomes.push(directory.check(name, &contents, &format!("{kind:?} {round} of {name}")));
            }
        }
    }
    let count = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    let counts = [Outcome::Refused, Outcome::Complete, Outcome::CutOff].map(count);
    println!("refused, complete, cut off: {counts:?}");
    assert!(counts.iter().all(|count| *count > 10), "too few of one outcome: {counts:?}");
}
