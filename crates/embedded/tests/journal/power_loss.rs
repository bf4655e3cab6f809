//! A model of the journal's guarantees, checked over many power losses.

use std::collections::BTreeMap;

use aurora_discovery_embedded::testing::Commit;
use aurora_discovery_embedded::testing::LossyDisk;
use fastrand::Rng;

use super::{Event, Opened, open, open_with, options, wait};

/// Number of power losses that the tests simulate.
const LOSSES: u64 = 1_000;

/// Few keys, so that each is changed and removed often.
const KEYS: u8 = 8;

type State = BTreeMap<u8, u64>;

/// A change: the key gets this value, or is removed.
#[derive(Clone, Copy, Debug)]
struct Change {
    key: u8,
    value: Option<u64>,
}

impl Change {
    fn encode(self) -> Vec<u8> {
        let mut record = vec![self.key];
        record.extend(self.value.iter().flat_map(|value| value.to_le_bytes()));
        // Some records are long enough to span several sectors.
        record.resize(record.len() + usize::from(self.key) * 90, 0xEE);
        record
    }

    fn decode(record: &[u8]) -> Self {
        let key = record[0];
        let rest = &record[1..record.len() - usize::from(key) * 90];
        Self { key, value: rest.try_into().ok().map(u64::from_le_bytes) }
    }

    fn apply(self, state: &mut State) {
        match self.value {
            Some(value) => state.insert(self.key, value),
            None => state.remove(&self.key),
        };
    }
}

/// The changes that one run of the process appended, in order, and how many of them were
/// acknowledged.
struct Run {
    start: State,
    changes: Vec<Change>,
    acknowledged: usize,
    pending: Vec<(usize, Commit)>,
}

impl Run {
    fn state(&self) -> State {
        self.state_after(self.changes.len())
    }

    fn state_after(&self, changes: usize) -> State {
        let mut state = self.start.clone();
        self.changes[..changes].iter().for_each(|change| change.apply(&mut state));
        state
    }

    /// Whether `found` is the state after the first changes of this run, without gaps: at least all
    /// acknowledged ones, and any number of those that directly follow.
    fn allows(&self, found: &State) -> bool {
        (self.acknowledged..=self.changes.len()).any(|changes| self.state_after(changes) == *found)
    }

    fn await_pending(&mut self) {
        for (position, commit) in self.pending.drain(..) {
            if wait(commit).is_ok() {
                self.acknowledged = self.acknowledged.max(position + 1);
            }
        }
    }

    fn append(&mut self, opened: &Opened, rng: &mut Rng) {
        let value = rng.bool().then(|| rng.u64(..));
        let change = Change { key: rng.u8(..KEYS), value };
        if let Ok(commit) = opened.journal.append(&change.encode(), Some(0)) {
            self.changes.push(change);
            self.pending.push((self.changes.len() - 1, commit));
        }
    }

    fn checkpoint(&mut self, disk: &LossyDisk, opened: &Opened, rng: &mut Rng) {
        // A checkpoint that cannot begin may leave its journal file, which must do no harm.
        self.await_pending();
        disk.set_sync_fails(rng.u8(..4) == 0);
        let began = opened.journal.begin_checkpoint();
        disk.set_sync_fails(false);
        let Ok(mut checkpoint) = began else { return };
        if rng.bool() {
            self.append(opened, rng);
        }
        for (key, value) in self.state() {
            if checkpoint.push(&Change { key, value: Some(value) }.encode()).is_err() {
                return;
            }
        }
        if rng.u8(..8) > 0 {
            let _ = checkpoint.finish();
        }
    }

    /// Makes the disk fail for a while. Changes that were not acknowledged are undone, and must
    /// stay undone.
    fn fail_for_a_while(&mut self, disk: &LossyDisk, opened: &Opened, rng: &mut Rng) {
        self.await_pending();
        let before = self.changes.len();
        disk.set_sync_fails(true);
        self.append(opened, rng);
        self.await_pending();
        disk.set_sync_fails(false);
        if self.changes.len() == before || disk.has_lost_power() {
            return;
        }
        while !disk.has_lost_power() {
            match opened.events.try_recv() {
                Ok(Event::Healed) => {
                    self.changes.truncate(before);
                    return;
                }
                Ok(Event::Failed(_)) | Err(_) => std::thread::yield_now(),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    losses: u64,
    appended: u64,
    acknowledged: u64,
    torn: u64,
    violations: u64,
}

/// Runs and loses power repeatedly, and counts the violations.
fn run_with_power_losses(disk: LossyDisk, losses: u64, seed: u64) -> Counts {
    let mut rng = Rng::with_seed(seed);
    let mut disk = disk;
    let mut counts = Counts::default();
    let mut state = State::new();
    while counts.losses < losses {
        let run = run_until_power_loss(&disk, &state, &mut rng);
        disk = disk.lose_power();
        counts.losses += 1;
        counts.appended += run.changes.len() as u64;
        counts.acknowledged += run.acknowledged as u64;
        let Ok(opened) = open_with(&disk, options()) else {
            counts.violations += 1;
            return counts;
        };
        counts.torn += u64::from(opened.recovery.torn_bytes > 0);
        state.clear();
        opened.records.iter().for_each(|record| Change::decode(record).apply(&mut state));
        if !run.allows(&state) {
            counts.violations += 1;
            return counts;
        }
    }
    counts
}

fn run_until_power_loss(disk: &LossyDisk, start: &State, rng: &mut Rng) -> Run {
    let opened = open(disk);
    let mut run = Run { start: start.clone(), changes: Vec::new(), acknowledged: 0, pending: Vec::new() };
    // The power fails at a random disk operation, so at any step of the journal's work.
    disk.lose_power_after(rng.u64(..120));
    while !disk.has_lost_power() {
        match rng.u8(..20) {
            0 => run.checkpoint(disk, &opened, rng),
            1 => run.fail_for_a_while(disk, &opened, rng),
            2..8 => run.await_pending(),
            _ => run.append(&opened, rng),
        }
    }
    run.await_pending();
    run
}

#[test]
fn a_thousand_power_losses_lose_no_acknowledged_change() {
    let counts = run_with_power_losses(LossyDisk::new(1), LOSSES, 1);
    println!("{counts:?}");
    assert!(counts.losses >= LOSSES && counts.violations == 0, "{counts:?}");
    assert!(
        counts.acknowledged > LOSSES && counts.torn > 10,
        "too few events for a meaningful test: {counts:?}"
    );
}

#[test]
fn the_power_loss_test_detects_missing_syncs() {
    let counts = run_with_power_losses(LossyDisk::new(1).without_sync(), LOSSES, 1);
    println!("{counts:?}");
    assert_eq!(counts.violations, 1, "{counts:?}");
}
