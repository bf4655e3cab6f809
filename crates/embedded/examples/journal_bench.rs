//! Measures how many records per second become durable, for several numbers of concurrent callers.
//! It measures this twice: without a checkpoint, and while checkpoints of a million records are
//! written. It also measures how fast a restart reads the records back.
//!
//! `cargo run --release -p aurora-discovery-embedded --example journal_bench [DIRECTORY]`: the
//! directory determines the disk that is measured. The default is the system's directory for
//! temporary files.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aurora_discovery_embedded::testing::StdDisk;
use aurora_discovery_embedded::testing::{Hooks, Journal, JournalOptions};

/// About the size of a legacy client's registration.
const RECORD: [u8; 300] = [0x5A; 300];
const TASKS: [usize; 3] = [1, 32, 256];
const TIME: Duration = Duration::from_secs(2);
const RUNS: usize = 5;
const RESTART_RECORDS: u64 = 1_000_000;

struct NoHooks;

impl Hooks<u32> for NoHooks {
    fn failed(&self, _undos: Vec<u32>) {}
    fn healed(&self) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    println!(
        "| concurrent callers | concurrent load | durable records/s | median latency | p99 | records per sync | mean sync |"
    );
    println!("|---|---|---|---|---|---|---|");
    for tasks in TASKS {
        for checkpoints in [false, true] {
            let mut runs = Vec::new();
            for _ in 0..RUNS {
                let directory = tempfile::tempdir_in(&parent)?;
                let journal = Arc::new(open(directory.path().into())?);
                let background = checkpoints.then(|| Checkpoints::start(&journal));
                runs.push(runtime.block_on(append(journal, tasks))?);
                drop(background);
            }
            report(tasks, checkpoints, runs);
        }
    }
    restart(&parent)
}

fn report(tasks: usize, checkpoints: bool, mut runs: Vec<Run>) {
    runs.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    let Run { rate, median, p99, batch, sync } = &runs[RUNS / 2];
    let load = if checkpoints { "checkpoints" } else { "none" };
    println!("| {tasks} | {load} | {rate:.0} | {median:.2?} | {p99:.2?} | {batch:.1} | {sync:.2?} |");
}

/// Writes checkpoints, one after the other, until it is dropped.
struct Checkpoints {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    fn start(journal: &Arc<Journal<u32>>) -> Self {
        let (journal, stop) = (Arc::clone(journal), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(mut checkpoint) = journal.begin_checkpoint() else { return };
                let written = (0..RESTART_RECORDS)
                    .all(|_| !stopped.load(Ordering::Relaxed) && checkpoint.push(&RECORD).is_ok());
                if !written || checkpoint.finish().is_err() {
                    return;
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn open(directory: PathBuf) -> Result<Journal<u32>, Box<dyn Error>> {
    let disk = Arc::new(StdDisk::new(directory)?);
    let (recovered, _) = Journal::recover(disk, JournalOptions::default(), |_| {})?;
    Ok(recovered.start(NoHooks)?)
}

struct Run {
    rate: f64,
    median: Duration,
    p99: Duration,
    batch: f64,
    sync: Duration,
}

async fn append(journal: Arc<Journal<u32>>, tasks: usize) -> Result<Run, Box<dyn Error>> {
    let started = Instant::now();
    let waiting: Vec<_> = (0..tasks)
        .map(|_| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < TIME {
                    let submitted = Instant::now();
                    journal.append(&RECORD, Some(0))?.await?;
                    latencies.push(submitted.elapsed());
                }
                Ok::<_, aurora_discovery_embedded::Unavailable>(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in waiting {
        latencies.extend(task.await??);
    }
    let elapsed = started.elapsed();
    latencies.sort();
    let figures = journal.figures();
    Ok(Run {
        rate: latencies.len() as f64 / elapsed.as_secs_f64(),
        median: latencies[latencies.len() / 2],
        p99: latencies[latencies.len() / 100 * 99],
        batch: figures.records as f64 / figures.batches as f64,
        sync: figures.sync_total.div_f64(figures.syncs as f64),
    })
}

fn restart(parent: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir_in(parent)?;
    let journal = open(directory.path().into())?;
    for _ in 0..RESTART_RECORDS {
        while journal.append(&RECORD, None).is_err() {
            std::thread::yield_now();
        }
    }
    journal.close();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let mut bytes = 0;
        let disk = Arc::new(StdDisk::new(directory.path())?);
        let (_, recovery) =
            Journal::recover(disk, JournalOptions::default(), |record| bytes += record.len())?;
        times.push((recovery.duration, bytes));
    }
    times.sort();
    let (time, bytes) = times[RUNS / 2];
    println!("\n{RESTART_RECORDS} records ({} MB) are read back in {time:.0?}", bytes / 1_000_000);
    Ok(())
}
