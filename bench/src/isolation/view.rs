//! The peers that each peer remembers from responses.

/// Every peer's memory, and the last time that each peer was listed in a response.
pub(crate) struct Views {
    known: Vec<Vec<u32>>,
    listed_at: Vec<u32>,
    /// How many peers from earlier responses are retained in addition to the last response.
    retained: usize,
}

impl Views {
    pub(crate) fn new(k: usize, responses: usize) -> Self {
        Self { known: Vec::new(), listed_at: Vec::new(), retained: responses.saturating_sub(1) * k }
    }

    /// Adds a newcomer, which knows no peers.
    pub(crate) fn add(&mut self, now: u32) {
        self.known.push(Vec::new());
        self.listed_at.push(now);
    }

    /// Records a response. Of the peers from earlier responses, only the `retained` most recent
    /// ones stay in the memory.
    pub(crate) fn learn(&mut self, peer: u32, response: &[u32], now: u32) {
        let known = &mut self.known[peer as usize];
        // The oldest peers are at the front.
        known.drain(..known.len().saturating_sub(self.retained));
        known.extend_from_slice(response);
        for listed in response {
            self.listed_at[*listed as usize] = now;
        }
    }

    pub(crate) fn forget(&mut self, peer: u32) {
        self.known[peer as usize] = Vec::new();
    }

    pub(crate) fn known_to(&self, peer: u32) -> &[u32] {
        &self.known[peer as usize]
    }

    /// When a peer was last listed in a response, or when it started if it never was.
    pub(crate) fn listed_at(&self, peer: u32) -> u32 {
        self.listed_at[peer as usize]
    }
}
