use aurora_discovery_embedded::testing::LossyDisk;

use super::{Event, open, records, wait};

#[test]
fn a_full_disk_refuses_records_undoes_the_newest_first_and_heals() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"kept");

    disk.set_capacity(Some(disk.used() + 10));
    let stall = disk.stall();
    let append = |n: u64| opened.journal.append(&[n as u8; 300], Some(n)).unwrap();
    let mut commits = vec![append(1)];
    // The first batch has one record, which fits into the preallocated space. The journal waits for
    // its sync while the others are appended. It would refuse them if it had failed before.
    stall.wait();
    commits.extend((2..=50).map(append));
    drop(stall);
    let mut undone = Vec::new();
    let mut lost = commits.into_iter().map(|commit| wait(commit).is_err()).collect::<Vec<_>>();
    if let Event::Failed(undos) = opened.events.recv().unwrap() {
        undone = undos;
    }
    let kept = lost.iter().filter(|lost| !**lost).count();
    let expected: Vec<_> = (kept as u64 + 1..=50).rev().collect();
    assert!(!expected.is_empty());
    assert_eq!(undone, expected, "exactly the failed changes, newest first");
    lost.drain(..kept);
    assert!(lost.into_iter().all(|lost| lost));

    let reason = opened.journal.health().unwrap_err();
    assert!(reason.reason().contains("cannot write to the journal"), "{reason}");
    assert!(!reason.reason().contains("a lossy disk"), "the reason must not reveal the directory: {reason}");
    assert_eq!(opened.journal.append(b"refused", Some(51)).err(), Some(reason));

    disk.set_capacity(None);
    assert_eq!(opened.events.recv().unwrap(), Event::Healed);
    opened.journal.health().unwrap();
    opened.append(b"after");
    drop(opened);
    let found = records(&disk.lose_power());
    assert_eq!(found.len(), kept + 2);
    assert_eq!((&found[0][..], &found[kept + 1][..]), (&b"kept"[..], &b"after"[..]));
}

#[test]
fn records_queued_behind_a_failed_batch_are_undone_before_it() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    let stall = disk.stall();
    let mut commits = vec![opened.journal.append(b"in flight", Some(1)).unwrap()];
    stall.wait();
    commits.extend((2..=4).map(|n| opened.journal.append(b"queued", Some(n)).unwrap()));
    disk.set_sync_fails(true);
    drop(stall);
    assert_eq!(opened.events.recv().unwrap(), Event::Failed(vec![4, 3, 2, 1]));
    assert!(commits.into_iter().all(|commit| wait(commit).is_err()));
}

#[test]
fn a_journal_does_not_heal_until_there_is_space_for_registrations() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    opened.append(b"kept");
    let full = disk.used() + 10;
    disk.set_capacity(Some(full));
    // Longer than the preallocated space.
    let commit = opened.journal.append(&[7; 6000], Some(1)).unwrap();
    assert!(wait(commit).is_err());
    assert_eq!(opened.events.recv().unwrap(), Event::Failed(vec![1]));
    let refused = disk.refused_writes();
    while disk.refused_writes() < refused + 3 {
        assert!(opened.events.try_recv().is_err() && opened.journal.health().is_err());
    }
    disk.set_capacity(Some(full + 100_000));
    assert_eq!(opened.events.recv().unwrap(), Event::Healed);
    opened.append(&[7; 6000]);
}

#[test]
fn every_start_and_every_healing_begins_an_epoch() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    disk.set_sync_fails(true);
    assert!(wait(opened.journal.append(b"lost", Some(1)).unwrap()).is_err());
    disk.set_sync_fails(false);
    while opened.events.recv().unwrap() != Event::Healed {}
    drop(opened);
    drop(open(&disk));
    let bytes = disk.contents("journal-0000000001").unwrap();
    let epochs: Vec<_> = bytes[1024..].chunks(24).map(|frame| (frame[8], frame[12])).collect();
    assert_eq!(epochs, [(0, 1), (0, 2), (0, 3)]);
}

#[test]
fn a_failed_batch_never_reappears_after_the_journal_healed() {
    for seed in 0..200 {
        let disk = LossyDisk::new(seed);
        let opened = open(&disk);
        opened.append(b"before");
        disk.set_sync_fails(true);
        let refused = opened.journal.append(&[0xAB; 2000], Some(1)).unwrap();
        assert!(wait(refused).is_err());
        disk.set_sync_fails(false);
        assert_eq!(opened.events.recv().unwrap(), Event::Failed(vec![1]));
        assert_eq!(opened.events.recv().unwrap(), Event::Healed);
        let found = disk.lose_power();
        assert_eq!(records(&found), [b"before".to_vec()], "seed {seed}");
        assert_eq!(records(&found.lose_power()), [b"before".to_vec()], "seed {seed}");
    }
}

#[test]
fn the_journal_accepts_records_after_repeated_failures() {
    let disk = LossyDisk::new(3);
    let opened = open(&disk);
    let mut kept = Vec::new();
    for round in 0..20u8 {
        let len = 1 + usize::from(round) * 97 % 900;
        disk.set_sync_fails(true);
        assert!(wait(opened.journal.append(&vec![round | 0x80; len], Some(1)).unwrap()).is_err());
        disk.set_sync_fails(false);
        while opened.events.recv().unwrap() != Event::Healed {}
        opened.append(&[round; 40]);
        kept.push(vec![round; 40]);
    }
    assert_eq!(opened.journal.figures().failures, 20);
    drop(opened);
    assert_eq!(records(&disk.lose_power()), kept);
}

#[test]
fn background_records_lost_in_a_failure_are_counted() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    let stall = disk.stall();
    disk.set_sync_fails(true);
    drop(opened.journal.append(b"eviction", None).unwrap());
    let waited = opened.journal.append(b"registration", Some(1)).unwrap();
    drop(stall);
    let _ = wait(waited);
    assert!(matches!(opened.events.recv().unwrap(), Event::Failed(_)));
    assert!(opened.journal.append(b"eviction", None).is_err());
    assert_eq!(opened.journal.figures().lost_records, 2);
}

#[test]
fn a_journal_on_a_full_disk_opens_and_heals_later() {
    let disk = LossyDisk::new(1);
    open(&disk).append(b"kept");
    disk.set_capacity(Some(disk.used()));
    let opened = open(&disk);
    assert_eq!(opened.records, [b"kept".to_vec()]);
    assert!(opened.journal.health().is_err());
    disk.set_capacity(None);
    assert_eq!(opened.events.recv().unwrap(), Event::Healed);
    opened.append(b"after");
}

#[test]
fn closing_does_not_wait_for_a_failing_disk() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    disk.set_sync_fails(true);
    let commit = opened.journal.append(b"lost", Some(1)).unwrap();
    assert!(wait(commit).is_err());
    opened.journal.close();
    assert_eq!(opened.events.recv().unwrap(), Event::Failed(vec![1]));
}

#[test]
fn a_small_disk_is_used_until_nearly_full() {
    let disk = LossyDisk::new(1);
    let capacity = 200_000;
    disk.set_capacity(Some(capacity));
    let opened = open(&disk);
    let mut kept = 0u64;
    while wait(opened.journal.append(&[1; 300], Some(1)).unwrap()).is_ok() {
        kept += 328;
    }
    assert!(kept > capacity - 2048, "{kept} bytes of {capacity}");
}
