//! Who runs, and since when it is registered.

/// All peers that ever ran, by their numbers, which rise in the order in which they came.
#[derive(Default)]
pub(crate) struct Population {
    peers: Vec<State>,
    /// Who runs, in no order.
    running: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Runs, and has not been registered yet.
    Waiting,
    /// Runs, and was first registered then, in seconds.
    Registered(u32),
    Gone,
}

impl Population {
    /// A newcomer's number.
    pub(crate) fn arrive(&mut self) -> u32 {
        let peer = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        self.peers.push(State::Waiting);
        self.running.push(peer);
        peer
    }

    /// Somebody at random leaves.
    pub(crate) fn leave(&mut self, rng: &mut fastrand::Rng) -> Option<u32> {
        let at = (!self.running.is_empty()).then(|| rng.usize(..self.running.len()))?;
        let peer = self.running.swap_remove(at);
        self.peers[peer as usize] = State::Gone;
        Some(peer)
    }

    pub(crate) fn registered(&mut self, peer: u32, now: u32) {
        let state = &mut self.peers[peer as usize];
        if *state == State::Waiting {
            *state = State::Registered(now);
        }
    }

    pub(crate) fn runs(&self, peer: u32) -> bool {
        self.peers[peer as usize] != State::Gone
    }

    /// Since when a peer that runs is registered, in seconds; `None` for whoever is not, or gone.
    pub(crate) fn member_since(&self, peer: u32) -> Option<u32> {
        match self.peers[peer as usize] {
            State::Registered(since) => Some(since),
            State::Waiting | State::Gone => None,
        }
    }

    /// Who runs and was registered once: the network.
    pub(crate) fn members(&self) -> impl Iterator<Item = u32> {
        self.running.iter().copied().filter(|peer| self.member_since(*peer).is_some())
    }

    /// How many peers there ever were.
    pub(crate) fn ever(&self) -> usize {
        self.peers.len()
    }
}
