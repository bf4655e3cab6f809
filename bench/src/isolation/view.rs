//! What peers remember of what they were told.

/// Every peer's memory, and when each peer was last told to anybody.
pub(crate) struct Views {
    known: Vec<Vec<u32>>,
    told_at: Vec<u32>,
    /// How many peers of earlier answers are kept beside the last answer.
    kept: usize,
}

impl Views {
    pub(crate) fn new(k: usize, answers: usize) -> Self {
        Self { known: Vec::new(), told_at: Vec::new(), kept: answers.saturating_sub(1) * k }
    }

    /// A newcomer that knows nobody.
    pub(crate) fn add(&mut self, now: u32) {
        self.known.push(Vec::new());
        self.told_at.push(now);
    }

    /// An answer: what is remembered of earlier ones is the last that the memory has room for, besides it.
    pub(crate) fn learn(&mut self, peer: u32, answer: &[u32], now: u32) {
        let known = &mut self.known[peer as usize];
        known.drain(..known.len().saturating_sub(self.kept));
        known.extend_from_slice(answer);
        for told in answer {
            self.told_at[*told as usize] = now;
        }
    }

    pub(crate) fn forget(&mut self, peer: u32) {
        self.known[peer as usize] = Vec::new();
    }

    pub(crate) fn known_to(&self, peer: u32) -> &[u32] {
        &self.known[peer as usize]
    }

    /// When a peer was last told to anybody; when it came, if never.
    pub(crate) fn told_at(&self, peer: u32) -> u32 {
        self.told_at[peer as usize]
    }
}
