//! The names of journal and checkpoint files, and the listing of a directory by these names.

use std::collections::BTreeSet;

const JOURNAL: &str = "journal-";
const CHECKPOINT: &str = "checkpoint-";
const UNFINISHED: &str = ".tmp";
/// The number of digits of a generation in a file name, with leading zeros, so that names sort by
/// generation.
const DIGITS: usize = 10;

pub(crate) fn journal(generation: u64) -> String {
    format!("{JOURNAL}{generation:0DIGITS$}")
}

pub(crate) fn checkpoint(generation: u64) -> String {
    format!("{CHECKPOINT}{generation:0DIGITS$}")
}

/// A journal file that is being created. It gets its final name when its header is durable.
pub(crate) fn unfinished_journal(generation: u64) -> String {
    format!("{JOURNAL}{generation:0DIGITS$}{UNFINISHED}")
}

pub(crate) fn unfinished_checkpoint(generation: u64) -> String {
    format!("{CHECKPOINT}{generation:0DIGITS$}{UNFINISHED}")
}

/// The journal and checkpoint files in a directory. Other files are ignored.
#[derive(Debug, Default)]
pub(crate) struct DirectoryListing {
    pub(crate) journals: BTreeSet<u64>,
    pub(crate) checkpoints: BTreeSet<u64>,
    pub(crate) unfinished: Vec<String>,
}

impl DirectoryListing {
    pub(crate) fn of(names: Vec<String>) -> Self {
        let mut listing = Self::default();
        for name in names {
            if let Some(generation) = generation(&name, JOURNAL) {
                listing.journals.insert(generation);
            } else if let Some(generation) = generation(&name, CHECKPOINT) {
                listing.checkpoints.insert(generation);
            } else if name.ends_with(UNFINISHED)
                && [JOURNAL, CHECKPOINT].iter().any(|prefix| name.starts_with(prefix))
            {
                listing.unfinished.push(name);
            }
        }
        listing
    }

    /// Names of the files that a checkpoint of this generation makes obsolete.
    pub(crate) fn older_than(&self, generation: u64) -> Vec<String> {
        let checkpoints = self.checkpoints.range(..generation).map(|older| checkpoint(*older));
        checkpoints.chain(self.journals.range(..generation).map(|older| journal(*older))).collect()
    }
}

fn generation(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let generation = digits.parse().ok()?;
    // Another spelling of the same number would be a different file. The maximum number is rejected
    // because no generation could follow it.
    (generation < u64::MAX && format!("{generation:0DIGITS$}") == digits).then_some(generation)
}
