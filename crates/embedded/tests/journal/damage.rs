use aurora_discovery_embedded::OpenError;
use aurora_discovery_embedded::testing::LossyDisk;
use proptest::prelude::*;

use super::{Opened, dropping_damage, open, open_with, options, records};

const JOURNAL: &str = "journal-0000000001";
const FRAMES_AT: usize = 1024;

/// The bytes of a journal with three batches, and four offsets: the start of each batch, and the
/// end of the last one.
fn three_batches() -> (Vec<u8>, [usize; 4]) {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    // Opening a journal writes one frame without records.
    let mut ends = [FRAMES_AT + 24; 4];
    for (batch, record) in [b"first--record", b"second-record", b"third_ record"].iter().enumerate() {
        opened.append(&record[..]);
        ends[batch + 1] = FRAMES_AT + 24 + opened.journal.figures().bytes as usize;
    }
    // Taken before the journal is closed, so it includes the preallocated zeros after its end.
    (disk.contents(JOURNAL).unwrap(), ends)
}

fn disk_with(name: &str, bytes: &[u8]) -> LossyDisk {
    let disk = LossyDisk::new(2);
    disk.write_file(name, bytes.to_vec());
    disk
}

fn damage(disk: &LossyDisk) -> (String, u64) {
    match open_with(disk, options()) {
        Err(OpenError::Damaged { name, offset, .. }) => (name, offset),
        Err(error) => panic!("expected damage: {error}"),
        Ok(Opened { recovery, .. }) => panic!("damage was not detected: {recovery:?}"),
    }
}

#[test]
fn a_last_batch_torn_at_any_byte_is_cut_off_and_reported() {
    let (bytes, ends) = three_batches();
    for cut in ends[2]..ends[3] {
        for zeros in [true, false] {
            let mut torn = bytes.clone();
            torn[cut..].fill(0);
            if !zeros {
                torn.truncate(cut);
            }
            let kept = torn[ends[2]..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            let disk = disk_with(JOURNAL, &torn);
            let opened = open(&disk);
            assert_eq!(opened.records, [&b"first--record"[..], b"second-record"], "cut at {cut}");
            assert_eq!(opened.recovery.torn_bytes, kept, "cut at {cut}");
            // Batch 2 of epoch 1. Opening wrote the empty batch 0 of this epoch.
            let last_batch = (kept > 0).then_some((1 << 32) + 2);
            assert_eq!(opened.recovery.last_batch, last_batch, "cut at {cut}");
            opened.append(b"after");
            drop(opened);
            let opened = open(&disk);
            assert_eq!(opened.records, [&b"first--record"[..], b"second-record", b"after"]);
            assert_eq!(opened.recovery.torn_bytes, 0);
        }
    }
}

#[test]
fn a_long_torn_tail_is_reported_once() {
    let disk = LossyDisk::new(1);
    open(&disk).append(b"kept");
    let mut bytes = disk.contents(JOURNAL).unwrap();
    bytes.extend([0xAA; 50_000]);
    disk.write_file(JOURNAL, bytes);
    assert_eq!(open(&disk).recovery.torn_bytes, 50_000);
    assert_eq!(open(&disk).recovery.torn_bytes, 0);
}

#[test]
fn a_last_batch_without_its_start_is_cut_off() {
    let (bytes, ends) = three_batches();
    for missing in 1..ends[3] - ends[2] {
        let mut torn = bytes.clone();
        torn[ends[2]..ends[2] + missing].fill(0);
        assert_eq!(records(&disk_with(JOURNAL, &torn)).len(), 2, "without its first {missing} bytes");
    }
}

#[test]
fn a_flipped_bit_in_a_middle_batch_is_refused_with_its_offset() {
    let (bytes, ends) = three_batches();
    for batch in 0..2 {
        for at in ends[batch]..ends[batch + 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            let found = damage(&disk_with(JOURNAL, &damaged));
            assert_eq!(found, (JOURNAL.to_owned(), ends[batch] as u64), "flipped at {at}");
        }
    }
}

#[test]
fn the_error_for_damage_names_the_offset_and_the_remedy() {
    let (mut bytes, ends) = three_batches();
    bytes[ends[1]] ^= 1;
    let message = open_with(&disk_with(JOURNAL, &bytes), options()).err().unwrap().to_string();
    for part in [JOURNAL, &format!("byte {}", ends[1]), "a lossy disk", "restore", "backup", "drop-damaged"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn dropping_damage_loses_only_the_damaged_batch_and_counts_it() {
    let (bytes, ends) = three_batches();
    for at in ends[1]..ends[2] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let opened = open_with(&disk_with(JOURNAL, &damaged), dropping_damage()).unwrap();
        assert_eq!(opened.records, [&b"first--record"[..], b"third_ record"]);
        assert_eq!(opened.recovery.dropped_ranges, 1);
        assert_eq!(opened.recovery.dropped_bytes, (ends[2] - ends[1]) as u64);
    }
}

#[test]
fn a_checkpoint_after_dropping_damage_removes_it() {
    let (mut bytes, ends) = three_batches();
    bytes[ends[1]] ^= 1;
    let disk = disk_with(JOURNAL, &bytes);
    let opened = open_with(&disk, dropping_damage()).unwrap();
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    for record in &opened.records {
        checkpoint.push(record).unwrap();
    }
    checkpoint.finish().unwrap();
    drop(opened);
    assert_eq!(records(&disk), [&b"first--record"[..], b"third_ record"]);
}

#[test]
fn one_damaged_header_copy_is_tolerated_and_two_are_refused() {
    let (bytes, _) = three_batches();
    for copy in [0, 512] {
        for at in copy..copy + 44 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(records(&disk_with(JOURNAL, &damaged)).len(), 3);
        }
    }
    let mut damaged = bytes;
    damaged[3] ^= 1;
    damaged[515] ^= 1;
    assert_eq!(damage(&disk_with(JOURNAL, &damaged)), (JOURNAL.to_owned(), 0));
    let opened = open_with(&disk_with(JOURNAL, &damaged), dropping_damage()).unwrap();
    assert!(opened.records.is_empty() && opened.recovery.dropped_bytes > 0);
    opened.append(b"after");
}

#[test]
fn a_journal_without_a_header_is_refused_with_the_remedy() {
    let (bytes, _) = three_batches();
    for (contents, detail) in [
        (&b""[..], "it is empty"),
        (b"junk\n", "its header is damaged"),
        (&bytes[..30], "its header is damaged"),
        (&bytes[..FRAMES_AT - 1], "it ends within its header"),
        (&[0; 5_000], "its header is damaged"),
    ] {
        let disk = disk_with(JOURNAL, contents);
        let error = open_with(&disk, options()).err().unwrap();
        assert!(matches!(&error, OpenError::Damaged { offset: 0, .. }), "{error}");
        for part in [JOURNAL, detail, "backup", "drop-damaged"] {
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(disk.contents(JOURNAL).unwrap(), contents, "a refused file is left alone");
        let opened = open_with(&disk, dropping_damage()).unwrap();
        assert_eq!((opened.records.len(), opened.recovery.dropped_ranges), (0, 1));
        opened.append(b"after");
    }
}

#[test]
fn a_file_of_another_format_version_is_refused() {
    let (mut bytes, _) = three_batches();
    for copy in [0, 512] {
        bytes[copy + 8] = 9;
        let checksum = {
            let mut hasher = crc32fast::Hasher::new();
            hasher.update(&[0; 8]);
            hasher.update(&bytes[copy..copy + 40]);
            hasher.finalize()
        };
        bytes[copy + 40..copy + 44].copy_from_slice(&checksum.to_le_bytes());
    }
    let error = open_with(&disk_with(JOURNAL, &bytes), dropping_damage()).err().unwrap();
    assert!(matches!(error, OpenError::OtherVersion { version: 9, .. }), "{error}");
}

#[test]
fn a_journal_file_under_the_name_of_another_generation_is_refused() {
    let (bytes, _) = three_batches();
    let name = "journal-0000000002";
    assert_eq!(damage(&disk_with(name, &bytes)), (JOURNAL.to_owned(), 0));
    let both = disk_with(JOURNAL, &bytes);
    both.write_file(name, bytes);
    assert_eq!(damage(&both), (name.to_owned(), 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_files_never_panic(
        journal in proptest::collection::vec(any::<u8>(), 0..4096),
        checkpoint in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4096)),
        drop_damaged in any::<bool>(),
    ) {
        let disk = disk_with(JOURNAL, &journal);
        if let Some(checkpoint) = checkpoint {
            disk.write_file("checkpoint-0000000001", checkpoint);
        }
        let mut options = options();
        options.drop_damaged = drop_damaged;
        let _ = open_with(&disk, options);
    }

    #[test]
    fn a_damaged_journal_is_read_up_to_the_damage_or_refused(
        changes in proptest::collection::vec((FRAMES_AT..1400usize, any::<u8>()), 1..8),
        len in 0..4000usize,
        drop_damaged in any::<bool>(),
    ) {
        let (mut bytes, _) = three_batches();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(FRAMES_AT + len);
        let mut options = options();
        options.drop_damaged = drop_damaged;
        if let Ok(opened) = open_with(&disk_with(JOURNAL, &bytes), options) {
            let whole = [&b"first--record"[..], b"second-record", b"third_ record"];
            prop_assert!(opened.records.iter().all(|record| whole.contains(&&record[..])));
            if !drop_damaged {
                prop_assert!(opened.records.iter().zip(whole).all(|(found, written)| found == written));
            }
        }
    }
}
