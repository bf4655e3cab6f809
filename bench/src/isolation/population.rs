//! The running peers, and the times of their registrations.

/// All peers that ever ran, by number. The numbers increase in the order in which the peers
/// started.
#[derive(Default)]
pub(crate) struct Population {
    peers: Vec<State>,
    /// The running peers, in no particular order.
    running: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Running, but not registered yet.
    Waiting,
    /// Running, and first registered at this time, in seconds.
    Registered(u32),
    Stopped,
}

impl Population {
    /// Adds a peer and returns its number.
    pub(crate) fn start(&mut self) -> u32 {
        let peer = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        self.peers.push(State::Waiting);
        self.running.push(peer);
        peer
    }

    /// Stops a random peer.
    pub(crate) fn stop_random(&mut self, rng: &mut fastrand::Rng) -> Option<u32> {
        let at = (!self.running.is_empty()).then(|| rng.usize(..self.running.len()))?;
        let peer = self.running.swap_remove(at);
        self.peers[peer as usize] = State::Stopped;
        Some(peer)
    }

    pub(crate) fn registered(&mut self, peer: u32, now: u32) {
        let state = &mut self.peers[peer as usize];
        if *state == State::Waiting {
            *state = State::Registered(now);
        }
    }

    pub(crate) fn is_running(&self, peer: u32) -> bool {
        self.peers[peer as usize] != State::Stopped
    }

    /// When a running peer was registered, in seconds; `None` if it is not registered or has
    /// stopped.
    pub(crate) fn member_since(&self, peer: u32) -> Option<u32> {
        match self.peers[peer as usize] {
            State::Registered(since) => Some(since),
            State::Waiting | State::Stopped => None,
        }
    }

    /// The running peers that have registered: the network.
    pub(crate) fn members(&self) -> impl Iterator<Item = u32> {
        self.running.iter().copied().filter(|peer| self.member_since(*peer).is_some())
    }

    /// The number of peers that ever existed.
    pub(crate) fn total(&self) -> usize {
        self.peers.len()
    }
}
