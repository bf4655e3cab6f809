use std::sync::{Arc, Mutex};

use aurora_discovery_embedded::testing::{LossyDisk, StdDisk};

use super::{open, open_disk, options, records, wait};

#[test]
fn concurrent_appends_are_stored_in_their_order() {
    let disk = LossyDisk::new(1);
    let journal = Arc::new(open(&disk).journal);
    let order = Arc::new(Mutex::new(Vec::new()));
    let threads: Vec<_> = (0..8u32)
        .map(|thread| {
            let (journal, order) = (Arc::clone(&journal), Arc::clone(&order));
            std::thread::spawn(move || {
                for n in 0..200u32 {
                    let record = (thread * 1000 + n).to_le_bytes().to_vec();
                    let commit = {
                        let mut order = order.lock().unwrap();
                        order.push(record.clone());
                        journal.append(&record, Some(0)).unwrap()
                    };
                    wait(commit).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let found = disk.lose_power();
    assert_eq!(records(&found), *order.lock().unwrap());
}

#[test]
fn checkpoints_and_appends_run_concurrently_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Arc::new(StdDisk::new(directory.path()).unwrap());
    let journal = open_disk(disk(), options()).unwrap().journal;
    let state = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (journal, state) = (&journal, &state);
            scope.spawn(move || {
                for n in 0..100u32 {
                    let record = (thread * 1000 + n).to_le_bytes().to_vec();
                    let commit = {
                        let mut state = state.lock().unwrap();
                        state.push(record.clone());
                        journal.append(&record, Some(0)).unwrap()
                    };
                    wait(commit).unwrap();
                }
            });
        }
        for _ in 0..10 {
            let mut checkpoint = journal.begin_checkpoint().unwrap();
            let copy = state.lock().unwrap().clone();
            for record in &copy {
                checkpoint.push(record).unwrap();
            }
            checkpoint.finish().unwrap();
        }
    });
    drop(journal);
    let sorted = |mut records: Vec<Vec<u8>>| {
        records.sort();
        records.dedup();
        records
    };
    let found = open_disk(disk(), options()).unwrap().records;
    assert_eq!(sorted(found), sorted(state.into_inner().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_one_sync() {
    let disk = LossyDisk::new(1);
    let opened = open(&disk);
    let stall = disk.stall();
    let tasks: Vec<_> = (0..256u64)
        .map(|n| {
            let commit = opened.journal.append(&n.to_le_bytes(), Some(n)).unwrap();
            tokio::spawn(commit)
        })
        .collect();
    drop(stall);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(opened.journal.figures().syncs <= 3);
}
