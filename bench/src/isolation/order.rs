//! The lists that two other kinds of services would return: the newest peers first, and the first
//! page of a fixed order. The simulation compares them with the samples of the service.

use std::collections::BTreeSet;

use super::scenario::Sampler;
use crate::synthetic::scramble;

/// The peers that a host lists, in the orders of both other kinds of services.
#[derive(Default)]
pub(crate) struct Orders {
    /// When each peer's lease ends, by its number, in seconds; 0 if the peer has never been listed
    /// or was removed.
    ends: Vec<u32>,
    /// The numbers of the listed peers, which increase in the order in which the peers started.
    newest: BTreeSet<u32>,
    /// In the order of a hash of the id, like the pages of a hashed table.
    hashed: BTreeSet<(u64, u32)>,
}

impl Orders {
    /// Sets the end of a peer's lease to `end`.
    pub(crate) fn list(&mut self, peer: u32, end: u32) {
        let at = peer as usize;
        if self.ends.len() <= at {
            self.ends.resize(at + 1, 0);
        }
        self.ends[at] = end;
        self.newest.insert(peer);
        self.hashed.insert((scramble(u64::from(peer)), peer));
    }

    pub(crate) fn unlist(&mut self, peer: u32) {
        if let Some(end) = self.ends.get_mut(peer as usize) {
            *end = 0;
        }
        self.newest.remove(&peer);
        self.hashed.remove(&(scramble(u64::from(peer)), peer));
    }

    /// All peers with a live lease.
    pub(crate) fn listed(&self, now: u32) -> Vec<u32> {
        self.newest.iter().copied().filter(|peer| now < self.ends[*peer as usize]).collect()
    }

    /// The first `k` peers of an order, except for the requesting peer. Expired peers are removed
    /// along the way.
    pub(crate) fn first(&mut self, sampler: Sampler, requester: u32, k: usize, now: u32) -> Vec<u32> {
        let order: Box<dyn Iterator<Item = u32>> = match sampler {
            Sampler::NewestFirst => Box::new(self.newest.iter().rev().copied()),
            Sampler::FirstPage | Sampler::Ours => Box::new(self.hashed.iter().map(|(_, peer)| *peer)),
        };
        let (mut first, mut expired) = (Vec::with_capacity(k), Vec::new());
        for peer in order.filter(|peer| *peer != requester) {
            match now < self.ends[peer as usize] {
                true => first.push(peer),
                false => expired.push(peer),
            }
            if first.len() == k {
                break;
            }
        }
        expired.into_iter().for_each(|peer| self.unlist(peer));
        first
    }
}
