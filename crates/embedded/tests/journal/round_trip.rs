use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use aurora_discovery_embedded::testing::{LossyDisk, StdDisk};

use super::{Opened, open, open_disk, options, records, wait};
use aurora_discovery_embedded::OpenError;

#[test]
fn records_are_replayed_in_order_after_a_restart() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    assert!(opened.records.is_empty());
    opened.append(b"first");
    opened.append(b"");
    drop(opened);

    let opened = open(&disk);
    assert_eq!(opened.records, [b"first".to_vec(), Vec::new()]);
    opened.append(b"third");
    drop(opened);

    let opened = open(&disk);
    assert_eq!(opened.records, [b"first".to_vec(), Vec::new(), b"third".to_vec()]);
    assert_eq!((opened.recovery.journal_records, opened.recovery.torn_bytes), (3, 0));
}

#[test]
fn closing_makes_background_records_durable() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    for record in 0..100u8 {
        drop(opened.journal.append(&[record], None).unwrap());
    }
    opened.journal.close();
    assert!(opened.journal.append(b"too late", Some(1)).is_err() && opened.journal.health().is_err());
    let found = records(&disk.lose_power());
    assert_eq!(found, (0..100u8).map(|record| vec![record]).collect::<Vec<_>>());
}

#[test]
fn a_new_directory_is_accessible_to_its_user_only() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("missing/data");
    let open = || open_disk(Arc::new(StdDisk::new(&directory).unwrap()), options()).unwrap();
    open().append(b"kept");
    assert_eq!(open().records, [b"kept".to_vec()]);

    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for entry in directory.read_dir().unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn opening_a_locked_directory_fails_and_names_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let open = || open_disk(Arc::new(StdDisk::new(directory.path()).unwrap()), options());
    let first = open().unwrap();
    let error = open().err().unwrap();
    assert!(matches!(&error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
    drop(first);
    open().unwrap();
}

#[test]
fn an_oversized_record_is_refused_without_failing_the_journal() {
    let opened = open(&LossyDisk::new(1));
    assert!(opened.journal.append(&vec![1; (1 << 20) + 1], Some(0)).is_err());
    opened.append(&vec![1; 1 << 20]);
    opened.journal.health().unwrap();
}

#[test]
fn the_figures_count_durable_records() {
    let opened: Opened = open(&LossyDisk::new(1));
    opened.append(b"one");
    opened.append(b"two");
    let figures = opened.journal.figures();
    assert_eq!((figures.records, figures.batches, figures.syncs), (2, 2, 2));
    assert_eq!(figures.sync_buckets.iter().sum::<u64>(), 2);
    assert!(figures.bytes_since_checkpoint == figures.bytes && figures.bytes >= 6);
    assert!(figures.sync_max <= figures.sync_total);
}

#[test]
fn a_stalled_disk_does_not_block_appends() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    let stall = disk.stall();
    let commits: Vec<_> =
        (0..1000u64).map(|n| opened.journal.append(&n.to_le_bytes(), Some(n)).unwrap()).collect();
    drop(stall);
    for commit in commits {
        wait(commit).unwrap();
    }
    // The first syncs may cover a few records each. All other records share one sync.
    assert!(opened.journal.figures().syncs <= 3);
}
