//! Filling of pages: if too few peers match, other peers are added.

use std::collections::HashSet;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Page, Query};

use super::Index;

impl Index {
    /// Completes a sample of `query`. If the sample has fewer peers than the limit and the query
    /// asks for filling, a uniform random sample of the other peers follows it, as far as the page
    /// has space. The index must be up to `now`, and unchanged since `page` was made.
    pub(crate) fn fill(&self, mut page: Page, query: &Query, now: Timestamp) -> Page {
        let listed = page.peers.len();
        let cut = page.total.value() > listed as u64;
        if !query.fill || query.archetypes.is_empty() || cut || listed >= query.limit {
            return page;
        }
        let others = self.others(query, query.limit - listed);
        let rest =
            Query { page_bytes: query.page_bytes.saturating_sub(page.peers.bytes() + 1), ..query.clone() };
        let list = self.list(&others, &rest, now);
        // A list always contains at least one peer, even if that peer exceeds the size of a page.
        // The list of other peers is therefore appended to a list of matching peers only if it fits
        // on the page.
        if listed == 0 || list.bytes() <= rest.page_bytes {
            page.peers.append(&list);
        }
        page
    }

    /// Draws up to `count` live peers that do not match. It draws from all live peers and rejects
    /// those that match. These are fewer than a page holds, so few draws are rejected.
    fn others(&self, query: &Query, count: usize) -> Vec<u32> {
        let matching = query.archetypes.iter().filter_map(|name| self.archetypes.find(name.key()));
        let mut excluded: HashSet<u32> =
            matching.flat_map(|archetype| self.archetypes.members(archetype).as_slice()).copied().collect();
        excluded.extend(query.exclude.as_ref().and_then(|peer| self.find_peer(peer)));
        let live = self.live.as_slice();
        // With few other peers, random draws would mostly hit peers that are excluded already.
        if live.len() <= excluded.len() + 2 * count {
            let mut rest: Vec<u32> = live.iter().copied().filter(|slot| !excluded.contains(slot)).collect();
            fastrand::shuffle(&mut rest);
            rest.truncate(count);
            return rest;
        }
        let mut others = Vec::with_capacity(count);
        while others.len() < count {
            let slot = live[fastrand::usize(..live.len())];
            if excluded.insert(slot) {
                others.push(slot);
            }
        }
        others
    }
}
