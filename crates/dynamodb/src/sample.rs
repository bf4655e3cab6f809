//! Samples: from a snapshot of a small network, from the complete list of a rare archetype, or from
//! windows of the ring.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Page, Query, StoreError, Total};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::core::Core;
use crate::item::{self, Expression, Stored};
use crate::lane::{Family, Lane, Place};
use crate::memory::{Network, Peers};
use crate::page::PageInMaking;
use crate::size::{Seen, to_u64};
use crate::window::{Plan, Stretch};

/// Maximum number of entries up to which a family is listed completely, which costs sixteen half
/// read units.
const LIST_MOST: u64 = 800;
/// Number of lanes that are listed concurrently.
const AT_ONCE: usize = 16;
/// Maximum number of rounds. Each round replaces the picks that rejected windows and dormant peers
/// left open in the previous one. One sample in eight needs a second round. A sample that is still
/// short after the last round comes from a network with hardly any live peers.
const ROUNDS: u32 = 8;
/// Windows read in addition to those that are enough on average. Doubled in each round.
const SPARE_WINDOWS: usize = 2;

/// Index entries by their place on the ring.
pub(crate) type Entries = BTreeMap<Place, PeerId>;

impl Core {
    pub(crate) async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        let mut page = PageInMaking::new(query, now);
        if let Network::Small(peers) = self.network().await? {
            let total = sample_of_snapshot(&peers, query, &mut page, now);
            if page.goes_on_with_others() {
                sample_of_snapshot(&peers, &everybody(query), &mut page, now);
            }
            return Ok(page.finish(Total::Exact(total)));
        }
        let total = self.sample_into(&mut page, query, now).await?;
        if page.goes_on_with_others() {
            self.sample_into(&mut page, &everybody(query), now).await?;
        }
        Ok(page.finish(total))
    }

    /// Adds a sample of a large network to a page. Returns the number of matching peers.
    async fn sample_into(
        &self,
        page: &mut PageInMaking<'_>,
        query: &Query,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let seen = match self.sizes.of(&query.archetypes) {
            Some(seen) => seen,
            None => {
                let probed = self.probe(&query.archetypes).await?;
                self.sizes.saw(&query.archetypes, &probed)
            }
        };
        let limit = u64::try_from(query.limit).unwrap_or(u64::MAX);
        if seen.entries_in_all() <= LIST_MOST.max(limit.saturating_mul(2)) {
            return self.sample_of_list(page, query, now).await;
        }
        self.sample_of_windows(page, query, seen, now).await
    }

    /// Lists all index entries of the query, and reads their peers in random order until there are
    /// enough.
    async fn sample_of_list(
        &self,
        page: &mut PageInMaking<'_>,
        query: &Query,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let lanes = Lane::all().map(|lane| self.entries(query, (lane.first(), lane.last())));
        let listed: Vec<Entries> = stream::iter(lanes).buffer_unordered(AT_ONCE).try_collect().await?;
        let mut entries: Vec<_> = listed.into_iter().flatten().collect();
        let count = entries.len();
        entries.retain(|(_, peer)| query.exclude.as_ref() != Some(peer));
        fastrand::shuffle(&mut entries);
        // If all peers may fit on the page, all are read, so that the total is exact.
        let read_all = entries.len() <= query.limit.saturating_mul(2);
        let mut seen = Seen { entries: to_u64(count), covered: 1 << 64, looked_at: 0, live: 0 };
        let mut total = 0_u64;
        while !entries.is_empty() && (read_all || !page.is_full()) {
            let missing = query.limit.saturating_sub(page.len()).max(1);
            let wanted = if read_all { entries.len() } else { seen.entries_for(missing) };
            let next = entries.split_off(entries.len().saturating_sub(wanted.max(1)));
            for stored in self.look_at(next, query, &mut seen, now).await? {
                total += 1;
                page.push(&stored);
            }
        }
        self.sizes.saw(&query.archetypes, &seen);
        Ok(if entries.is_empty() { Total::Exact(total) } else { Total::Estimate(seen.live_in_all()) })
    }

    async fn sample_of_windows(
        &self,
        page: &mut PageInMaking<'_>,
        query: &Query,
        mut known: Seen,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let mut met: HashSet<PeerId> = query.exclude.iter().cloned().collect();
        let mut picked: Vec<(Place, PeerId)> = Vec::new();
        for round in 0..ROUNDS {
            let wanted = known.entries_for(query.limit - page.len());
            let (picks, mut seen) = match wanted.saturating_sub(picked.len()) {
                0 => (Vec::new(), Seen::default()),
                more => self.windows(query, &known, more, SPARE_WINDOWS << round).await?,
            };
            // Windows may overlap, within a round and across rounds, so peers that were picked
            // before are skipped.
            picked.extend(picks.into_iter().filter(|(_, peer)| met.insert(peer.clone())));
            // Surplus picks are kept for the next round, in the order in which they were drawn.
            // Dropping some by another rule could bias the sample.
            let rest = picked.split_off(picked.len().min(wanted));
            let peers = self.look_at(std::mem::replace(&mut picked, rest), query, &mut seen, now).await?;
            known = self.sizes.saw(&query.archetypes, &seen);
            if !peers.iter().all(|stored| page.push(stored)) || page.is_full() {
                break;
            }
        }
        let listed = to_u64(page.len());
        Ok(Total::Estimate(known.live_in_all().max(listed)))
    }

    /// Draws about `wanted` picks from random windows. Also returns the entries that were counted.
    pub(crate) async fn windows(
        &self,
        query: &Query,
        known: &Seen,
        wanted: usize,
        spare: usize,
    ) -> Result<(Vec<(Place, PeerId)>, Seen), StoreError> {
        let plan = Plan::new(known.entries_in_all(), query.limit);
        let windows = plan.windows_for(wanted) + spare;
        let read = async |window: Vec<Stretch>| {
            let mut held = Entries::new();
            for stretch in window {
                held.append(&mut self.entries(query, stretch).await?);
            }
            Ok::<_, StoreError>(held.into_iter().collect())
        };
        let (picks, entries) = plan.draw(windows, read).await?;
        Ok((
            picks,
            Seen { entries, covered: plan.covered() * u128::from(to_u64(windows)), ..Seen::default() },
        ))
    }

    /// The index entries of a query in a range, corrected by the recent writes of this process.
    pub(crate) async fn entries(&self, query: &Query, (from, to): Stretch) -> Result<Entries, StoreError> {
        let families = Family::of(&query.archetypes);
        let stretches = families.iter().map(|family| self.stretch(family, from, to));
        let mut entries = Entries::new();
        for mut of_family in futures_util::future::try_join_all(stretches).await? {
            entries.append(&mut of_family);
        }
        self.recent.correct((from, to), &query.archetypes, &mut entries);
        Ok(entries)
    }

    async fn stretch(&self, family: &Family, from: Place, to: Place) -> Result<Entries, StoreError> {
        let mut entries = Entries::new();
        let mut start = None;
        loop {
            let window = Expression::window(family.lane_key(from.lane()), from, to);
            let page = self.table.query(window, None, start).await?;
            self.collect(&page.items, &mut entries);
            start = page.next;
            if start.is_none() {
                return Ok(entries);
            }
        }
    }

    /// Parses index entries. An entry that cannot be parsed is counted and logged.
    pub(crate) fn collect(&self, items: &[item::Item], entries: &mut Entries) {
        for read in items {
            match item::indexed(read) {
                Ok((place, peer)) => drop(entries.insert(place, peer)),
                Err(error) => self.unreadable(read, &error),
            }
        }
    }

    /// Reads the peers of index entries and keeps those that match the query. They are returned in
    /// a new random order, because a batch read returns items in any order.
    pub(crate) async fn look_at(
        &self,
        entries: Vec<(Place, PeerId)>,
        query: &Query,
        seen: &mut Seen,
        now: Timestamp,
    ) -> Result<Vec<Arc<Stored>>, StoreError> {
        let looked_at = entries.iter().map(|(_, peer)| peer).collect::<HashSet<_>>().len();
        let mut peers = self.peers_at(entries).await?;
        peers.iter().filter(|stored| !stored.is_live(now)).for_each(|stored| self.dormant.saw(stored, now));
        peers.retain(|stored| Self::is_listed(stored, &query.archetypes, now));
        fastrand::shuffle(&mut peers);
        seen.looked_at += to_u64(looked_at);
        seen.live += to_u64(peers.len());
        self.counters().passed_over.add(looked_at.saturating_sub(peers.len()));
        Ok(peers)
    }
}

/// The query without its archetypes, to fill a page.
fn everybody(query: &Query) -> Query {
    Query { archetypes: Vec::new(), fill: false, ..query.clone() }
}

/// Adds a sample to a page. Returns the number of matching peers.
fn sample_of_snapshot(peers: &Peers, query: &Query, page: &mut PageInMaking<'_>, now: Timestamp) -> u64 {
    let mut matching: Vec<&Arc<Stored>> =
        peers.values().filter(|stored| matches(stored, query, now)).collect();
    for n in 0..matching.len() {
        let chosen = fastrand::usize(n..matching.len());
        matching.swap(n, chosen);
        if page.is_full() || !page.push(matching[n]) {
            break;
        }
    }
    to_u64(matching.len())
}

pub(crate) fn matches(stored: &Stored, query: &Query, now: Timestamp) -> bool {
    Core::is_listed(stored, &query.archetypes, now)
        && query.exclude.as_ref() != Some(&stored.registration.peer_id)
}
