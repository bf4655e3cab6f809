use aurora_discovery_embedded::OpenError;
use aurora_discovery_embedded::testing::{Disk, LossyDisk};

use super::{Event, Opened, dropping_damage, open, open_with, options, records, wait};

fn checkpoint(opened: &Opened, state: &[&[u8]]) {
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    for record in state {
        checkpoint.push(record).unwrap();
    }
    checkpoint.finish().unwrap();
}

fn names(disk: &LossyDisk) -> Vec<String> {
    disk.list().unwrap()
}

#[test]
fn a_checkpoint_replaces_the_journal_before_it() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"a=1");
    opened.append(b"a=2");
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    opened.append(b"b=1");
    checkpoint.push(b"a=2").unwrap();
    let report = checkpoint.finish().unwrap();
    assert_eq!(report.records, 1);
    assert!(opened.journal.figures().bytes_since_checkpoint < 40);
    opened.append(b"c=1");
    drop(opened);

    let found = disk.lose_power();
    assert_eq!(names(&found), ["checkpoint-0000000002", "journal-0000000002"]);
    let opened = open(&found);
    assert_eq!(opened.records, [&b"a=2"[..], b"b=1", b"c=1"]);
    assert_eq!((opened.recovery.checkpoint_records, opened.recovery.journal_records), (1, 2));
    assert!(opened.journal.figures().bytes_since_checkpoint > 40);
}

#[test]
fn an_abandoned_checkpoint_loses_nothing_and_the_next_one_succeeds() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"a");
    drop(opened.journal.begin_checkpoint().unwrap());
    opened.append(b"b");
    assert_eq!(names(&disk), ["journal-0000000001", "journal-0000000002"]);
    drop(opened);
    let opened = open(&disk);
    assert_eq!(opened.records, [b"a", b"b"]);
    opened.append(b"c");
    checkpoint(&opened, &[b"a", b"b", b"c"]);
    drop(opened);
    assert_eq!(names(&disk), ["checkpoint-0000000003", "journal-0000000003"]);
    assert_eq!(records(&disk), [b"a", b"b", b"c"]);
}

#[test]
fn one_checkpoint_is_written_at_a_time() {
    let opened = open(&LossyDisk::new(1));
    let first = opened.journal.begin_checkpoint().unwrap();
    assert!(opened.journal.begin_checkpoint().is_err());
    first.finish().unwrap();
    opened.journal.begin_checkpoint().unwrap();
}

#[test]
fn a_checkpoint_is_abandoned_if_the_journal_fails_meanwhile() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"kept");
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    disk.set_sync_fails(true);
    let undone = opened.journal.append(b"undone", Some(1)).unwrap();
    // A store could write this record before it learns of the failure.
    checkpoint.push(b"undone").unwrap();
    assert!(wait(undone).is_err());
    disk.set_sync_fails(false);
    while opened.events.recv().unwrap() != Event::Healed {}
    checkpoint.finish().unwrap_err();
    drop(opened);
    assert_eq!(records(&disk), [b"kept"]);
}

#[test]
fn a_checkpoint_waits_until_its_changes_are_durable() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    let commit = opened.journal.append(b"new", Some(1)).unwrap();
    checkpoint.push(b"new").unwrap();
    checkpoint.finish().unwrap();
    assert_eq!(opened.journal.figures().records, 1);
    wait(commit).unwrap();
}

#[test]
fn a_checkpoint_that_does_not_fit_does_not_fail_the_journal() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"kept");
    disk.set_capacity(Some(disk.used() + 8000));
    let mut checkpoint = opened.journal.begin_checkpoint().unwrap();
    checkpoint.push(&[1; 20_000]).unwrap();
    checkpoint.finish().unwrap_err();
    opened.journal.health().unwrap();
    disk.set_capacity(Some(disk.used()));
    assert!(opened.journal.begin_checkpoint().is_err());
    opened.journal.health().unwrap();
    opened.append(b"in preallocated space");
    drop(opened);
    assert_eq!(records(&disk), [&b"kept"[..], b"in preallocated space"]);
}

#[test]
fn a_large_checkpoint_is_read_back_completely() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    let state: Vec<Vec<u8>> = (0..20_000u32).map(|n| n.to_le_bytes().repeat(75)).collect();
    checkpoint(&opened, &state.iter().map(|record| &record[..]).collect::<Vec<_>>());
    drop(opened);
    assert_eq!(records(&disk.lose_power()), state);
}

#[test]
fn damage_anywhere_in_a_checkpoints_frames_is_refused() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    checkpoint(&opened, &[b"one", b"two"]);
    drop(opened);
    let name = "checkpoint-0000000002";
    let whole = disk.contents(name).unwrap();
    for at in 1024..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        let disk = disk.copy();
        disk.write_file(name, damaged);
        match open_with(&disk, options()) {
            Err(OpenError::Damaged { name: file, .. }) => assert_eq!(file, name),
            other => panic!("at {at}: {:?}", other.map(|opened| opened.recovery)),
        }
    }
}

#[test]
fn a_flipped_bit_in_a_checkpoint_costs_some_tens_of_records() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    // The size of a typical peer.
    let state: Vec<Vec<u8>> = (0..4_000u32).map(|n| n.to_le_bytes().repeat(80)).collect();
    checkpoint(&opened, &state.iter().map(|record| &record[..]).collect::<Vec<_>>());
    drop(opened);
    let name = "checkpoint-0000000002";
    let whole = disk.contents(name).unwrap();
    let content = state.iter().map(Vec::len).sum::<usize>();
    assert!(whole.len() < content + content / 50, "the file grows by less than 2 %");
    let mut rng = fastrand::Rng::with_seed(1);
    for _ in 0..50 {
        let at = rng.usize(1024..whole.len());
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << rng.u8(..8);
        let disk = disk.copy();
        disk.write_file(name, damaged);
        let opened = open_with(&disk, dropping_damage()).unwrap();
        assert!(state.len() - opened.records.len() <= 40, "at {at}: {} are left", opened.records.len());
        assert_eq!(opened.recovery.dropped_ranges, 1, "at {at}");
    }
}

#[test]
fn an_empty_or_junk_journal_after_a_checkpoint_is_refused() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    checkpoint(&opened, &[b"one"]);
    opened.append(b"two");
    drop(opened);
    let name = "journal-0000000002";
    for contents in [&b""[..], b"junk\n", &[0; 4_096]] {
        disk.write_file(name, contents.to_vec());
        match open_with(&disk, options()) {
            Err(OpenError::Damaged { name: file, .. }) => assert_eq!(file, name),
            other => panic!("{:?}", other.map(|opened| opened.recovery)),
        }
    }
    let opened = open_with(&disk, dropping_damage()).unwrap();
    assert_eq!(opened.records, [b"one"]);
}

#[test]
fn a_directory_with_a_missing_file_is_refused() {
    for missing in ["checkpoint-0000000002", "journal-0000000002"] {
        let disk = LossyDisk::new(1);
        let opened = open(&disk);
        checkpoint(&opened, &[b"one"]);
        drop(opened);
        disk.remove(missing).unwrap();
        match open_with(&disk, options()) {
            Err(OpenError::Damaged { .. }) => {}
            other => panic!("without {missing}: {:?}", other.map(|opened| opened.recovery)),
        }
    }
}

#[test]
fn a_damaged_end_of_an_earlier_journal_is_refused() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"one");
    opened.append(b"two");
    drop(opened.journal.begin_checkpoint().unwrap());
    drop(opened);
    let mut bytes = disk.contents("journal-0000000001").unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    disk.write_file("journal-0000000001", bytes);
    assert!(matches!(
        open_with(&disk, options()),
        Err(OpenError::Damaged { name, .. }) if name == "journal-0000000001"
    ));
}

/// Cuts the power at each operation of a checkpoint, in turn.
#[test]
fn a_power_loss_at_any_step_of_a_checkpoint_loses_nothing() {
    for seed in 0..20 {
        for step in 0.. {
            let disk = LossyDisk::new(seed);
            let opened = open(&disk);
            opened.append(b"a");
            opened.append(b"b");
            disk.lose_power_after(step);
            let finished = run_checkpoint(&opened);
            let found = disk.lose_power();
            drop(opened);
            let state = last_of_each(&records(&found));
            assert!(state.starts_with(b"ab"), "seed {seed}, step {step}: {state:?}");
            if finished {
                assert_eq!(state, b"abc");
                break;
            }
        }
    }
}

fn run_checkpoint(opened: &Opened) -> bool {
    let Ok(mut checkpoint) = opened.journal.begin_checkpoint() else { return false };
    let Ok(commit) = opened.journal.append(b"c", Some(1)) else { return false };
    let pushed = checkpoint.push(b"a").is_ok() && checkpoint.push(b"b").is_ok();
    let durable = wait(commit).is_ok();
    pushed && durable && checkpoint.finish().is_ok()
}

/// The keys of the records, each once. The first byte of a record is its key. The same key may come
/// from the checkpoint and from the journal.
fn last_of_each(records: &[Vec<u8>]) -> Vec<u8> {
    let mut keys: Vec<u8> = records.iter().map(|record| record[0]).collect();
    keys.dedup();
    keys
}
