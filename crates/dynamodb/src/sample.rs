//! Samples of the live peers that match a query. There are three ways to draw one:
//!
//! - A small network is read completely, and the sample is drawn from this snapshot in memory.
//! - If few index entries match, for example those of a rare archetype, they are listed completely,
//!   and their peers are read in random order.
//! - Otherwise random windows of the ring are read (see [`crate::window`]), and the peers that were
//!   picked from them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aurora_discovery_protocol::{PeerId, Timestamp};
use aurora_discovery_registry::{Page, Query, StoreError, Total, choose_diverse};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::cache::{Network, Peers};
use crate::core::Core;
use crate::diverse::{DiverseOrder, in_diverse_order};
use crate::estimate::{Observation, to_u64};
use crate::expression::Expression;
use crate::item::{self, StoredPeer};
use crate::lane::{Lane, LaneGroup, NetworkClass, RingPosition};
use crate::page::PageBuilder;
use crate::window::{Drawn, RingRange, SamplingPlan};

/// Up to this estimated number, or twice the limit of the query if that is more, the index entries
/// of a query are listed completely. If 800 entries are in one lane group, each of its sixteen
/// lanes has about 50 entries, which cost half a read unit.
const MAX_LISTED_ENTRIES: u64 = 800;
/// Number of lanes that are listed concurrently.
const CONCURRENT_LANES: usize = 16;
/// Maximum number of rounds. A round may find too few peers, because some windows are rejected and
/// some picked peers are dormant. The next round then draws the missing ones. One sample in eight
/// needs a second round. If a sample is too small even after the last round, hardly any of the
/// peers in the index are live.
pub(crate) const MAX_ROUNDS: u32 = 8;
/// Number of windows that the first round reads in addition to those that suffice on average.
const SPARE_WINDOWS: usize = 2;
/// Maximum number of windows that a later round reads in addition to those that suffice on average.
const MAX_SPARE_WINDOWS: usize = 4;

/// Index entries by their position on the ring.
pub(crate) type Entries = BTreeMap<RingPosition, (PeerId, NetworkClass)>;
/// An index entry: the position of a peer, its id and the class of its network.
pub(crate) type Entry = (RingPosition, PeerId, NetworkClass);

/// The number of windows that a round reads in addition to those that suffice on average. Later
/// rounds read more of them, so that few samples need a further round.
pub(crate) fn spare_windows(round: u32) -> usize {
    (SPARE_WINDOWS << round).min(MAX_SPARE_WINDOWS)
}

impl Core {
    pub(crate) async fn sample(&self, query: &Query, now: Timestamp) -> Result<Page, StoreError> {
        let mut page = self.page(query, now);
        if let Network::Small(peers) = self.network().await? {
            let total = sample_from_snapshot(&peers, query, &mut page, now);
            if page.start_fill() {
                sample_from_snapshot(&peers, &without_archetypes(query), &mut page, now);
            }
            return Ok(page.finish(Total::Exact(total)));
        }
        // If the query requests a fill, a second sample is drawn from all peers. The page skips
        // those of them that match, because a fill consists of the other peers.
        let total = self.sample_into(&mut page, query, now).await?;
        if page.start_fill() {
            self.sample_into(&mut page, &without_archetypes(query), now).await?;
        }
        Ok(page.finish(total))
    }

    /// Adds a sample of a large network to a page. Returns the number of live peers that match, or
    /// an estimate of it.
    async fn sample_into(
        &self,
        page: &mut PageBuilder<'_>,
        query: &Query,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let known = self.sizes.get(&query.archetypes);
        // The rest of the page's budget may be too small for a single window, for example because
        // the response also contains the results of many renewals. This function then adds no peers
        // to the page, and returns the last estimate.
        if page.left() < page.groups() {
            return Ok(Total::Estimate(known.map_or(0, |seen| seen.estimated_live())));
        }
        // The estimated number of entries decides whether all of them are listed or windows are
        // read. If there is no recent estimate, a probe of the index makes one.
        let seen = match known {
            Some(seen) => seen,
            None => {
                let probed = self.probe(&query.archetypes).await?;
                page.charge(probed.half_units, 0);
                self.sizes.add(&query.archetypes, &probed)
            }
        };
        let listed_at_most =
            MAX_LISTED_ENTRIES.max(to_u64(query.limit.min(page.readable())).saturating_mul(2));
        // Listing costs at least half a read unit for each lane of each group. Entries are listed
        // only if this leaves at least half of the remaining budget for reading the peers.
        let affordable = 2 * u64::from(Lane::COUNT) * page.groups() <= page.left();
        if affordable && seen.estimated_entries() <= listed_at_most {
            return self.sample_from_list(page, query, now).await;
        }
        if query.diverse {
            return self.diverse_sample_from_windows(page, query, seen, now).await;
        }
        self.sample_from_windows(page, query, seen, now).await
    }

    /// Lists all index entries of the query, and reads their peers in random order (or in the order
    /// of a diverse sample) until the page is full. Returns the number of live peers that match,
    /// which is an estimate unless all peers were read.
    async fn sample_from_list(
        &self,
        page: &mut PageBuilder<'_>,
        query: &Query,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let lanes = Lane::all().map(|lane| self.entries(query, (lane.first(), lane.last())));
        let listed: Vec<(Entries, u64)> =
            stream::iter(lanes).buffer_unordered(CONCURRENT_LANES).try_collect().await?;
        page.charge(listed.iter().map(|(_, half_units)| half_units).sum(), 0);
        let mut entries: Vec<_> = listed.into_iter().flat_map(|(entries, _)| entries).collect();
        let count = entries.len();
        entries.retain(|(_, (peer, _))| query.exclude.as_ref() != Some(peer));
        fastrand::shuffle(&mut entries);
        let mut entries: Vec<_> = match query.diverse {
            false => entries.into_iter().map(|(position, (peer, _))| (position, peer)).collect(),
            true => in_diverse_order(entries),
        };
        let order = DiverseOrder::of(&entries, query.diverse);
        // If there are at most twice as many entries as the limit, all of their peers are read, so
        // that the total is exact. Reading continues when the page has reached the limit, but not
        // when it has reached its size in bytes or the budget is spent.
        let read_all = entries.len() <= query.limit.saturating_mul(2);
        let mut seen = Observation { entries: to_u64(count), covered: 1 << 64, ..Observation::default() };
        let mut total = 0_u64;
        while !entries.is_empty()
            && page.readable() > 0
            && (!page.is_full() || read_all && page.len() >= query.limit)
        {
            let missing = page.missing();
            let fits = read_all && (missing >= entries.len() || missing + page.len() >= query.limit);
            let wanted = if fits { entries.len() } else { seen.entries_needed_for(missing) };
            let wanted = wanted.min(page.readable());
            // The entries are shuffled, or in reversed diverse order. In both cases the next ones
            // are at the end of the vector, from which they are removed cheaply.
            let next = entries.split_off(entries.len().saturating_sub(wanted.max(1)));
            let count = next.len();
            let mut read = self.read_matching(next, query, &mut seen, now).await?;
            page.charge(std::mem::take(&mut seen.half_units), count);
            order.sort(&mut read);
            for stored in read {
                total += 1;
                page.push(&stored);
            }
        }
        self.sizes.add(&query.archetypes, &seen);
        Ok(if entries.is_empty() { Total::Exact(total) } else { Total::Estimate(seen.estimated_live()) })
    }

    /// Picks index entries from random windows, and reads their peers until the page is full.
    /// Returns the estimated number of live peers that match. `known` is what earlier reads have
    /// observed of these peers.
    async fn sample_from_windows(
        &self,
        page: &mut PageBuilder<'_>,
        query: &Query,
        mut known: Observation,
        now: Timestamp,
    ) -> Result<Total, StoreError> {
        let mut distinct: HashSet<PeerId> = query.exclude.iter().cloned().collect();
        let mut picked: Vec<(RingPosition, PeerId)> = Vec::new();
        for round in 0..MAX_ROUNDS {
            // Some of the picked peers may be dormant, so more are picked than are missing.
            let wanted = known.entries_needed_for(page.missing()).min(page.readable());
            let (picks, mut seen) = match wanted.saturating_sub(picked.len()) {
                0 => (Vec::new(), Observation::default()),
                more => {
                    let spare = spare_windows(round).min(page.readable().saturating_sub(1));
                    let counts = (query.limit, more);
                    let (drawn, seen) = self.draw_windows(query, &known, counts, spare).await?;
                    (drawn.picks, seen)
                }
            };
            // Windows may overlap, within a round and across rounds, so a peer may be picked
            // several times. Only its first pick counts.
            let picks = picks.into_iter().filter(|(_, peer, _)| distinct.insert(peer.clone()));
            picked.extend(picks.map(|(position, peer, _)| (position, peer)));
            // Surplus picks are kept for the next round, in the order in which they were drawn.
            // Using them in another order could bias the sample (see `SamplingPlan::draw`).
            let rest = picked.split_off(picked.len().min(wanted));
            let next = std::mem::replace(&mut picked, rest);
            let read = next.len();
            let peers = self.read_matching(next, query, &mut seen, now).await?;
            page.charge(seen.half_units, read);
            known = self.sizes.add(&query.archetypes, &seen);
            if !peers.iter().all(|stored| page.push(stored)) || page.is_full() || page.left() < page.groups()
            {
                break;
            }
        }
        let listed = to_u64(page.len());
        Ok(Total::Estimate(known.estimated_live().max(listed)))
    }

    /// Reads as many random windows as yield `wanted` picks on average, and `spare` more. `limit`
    /// is the size of the whole sample, from which the plan of the windows is made. Also returns
    /// how many entries the windows held, and the cost of reading them.
    pub(crate) async fn draw_windows(
        &self,
        query: &Query,
        known: &Observation,
        (limit, wanted): (usize, usize),
        spare: usize,
    ) -> Result<(Drawn<Entry>, Observation), StoreError> {
        // The estimated number of entries determines the width of a window. If the estimate is
        // wrong, windows hold more or fewer entries than planned. The observations of this round
        // then improve the estimate for the next one.
        let plan = SamplingPlan::new(known.estimated_entries(), limit);
        let windows = plan.windows_for(wanted) + spare;
        let half_units = AtomicU64::new(0);
        let read = async |window: Vec<RingRange>| {
            let mut held = Entries::new();
            for range in window {
                let (mut entries, cost) = self.entries(query, range).await?;
                held.append(&mut entries);
                half_units.fetch_add(cost, Ordering::Relaxed);
            }
            Ok::<_, StoreError>(held.into_iter().map(|(at, (peer, class))| (at, peer, class)).collect())
        };
        let drawn = plan.draw(windows, read).await?;
        let covered = plan.covered() * u128::from(to_u64(windows));
        let half_units = half_units.into_inner();
        let seen = Observation { entries: drawn.entries, covered, half_units, ..Observation::default() };
        Ok((drawn, seen))
    }

    /// Reads the index entries of a query in a range, and applies the recent writes of this process
    /// to them. Also returns the cost of the read in half read units.
    pub(crate) async fn entries(
        &self,
        query: &Query,
        (from, to): RingRange,
    ) -> Result<(Entries, u64), StoreError> {
        let groups = LaneGroup::for_query(&query.archetypes);
        // A peer with several of the archetypes is in several groups. The map has it once, because
        // its position is the same in all of them.
        let queries = groups.iter().map(|group| self.query_range(group, from, to));
        let (mut entries, mut half_units) = (Entries::new(), 0);
        for (mut of_group, cost) in futures_util::future::try_join_all(queries).await? {
            entries.append(&mut of_group);
            half_units += cost;
        }
        self.recent.apply_to((from, to), &query.archetypes, self.secret().await?, &mut entries);
        Ok((entries, half_units))
    }

    /// Reads the index entries of a lane group in a range, which must lie within one lane. Also
    /// returns the cost of the read in half read units.
    async fn query_range(
        &self,
        group: &LaneGroup,
        from: RingPosition,
        to: RingPosition,
    ) -> Result<(Entries, u64), StoreError> {
        let (mut entries, mut half_units) = (Entries::new(), 0);
        let mut start = None;
        loop {
            let window = Expression::window(group.lane_key(from.lane()), from, to);
            let page = self.table.query(window, None, start).await?;
            self.parse_entries(&page.items, &mut entries);
            half_units += page.half_units;
            start = page.next;
            // DynamoDB ends a page after 1 MB, even if the range continues.
            if start.is_none() {
                return Ok((entries, half_units));
            }
        }
    }

    /// Parses index entries and adds them to `entries`. Counts and logs an entry that cannot be
    /// parsed.
    pub(crate) fn parse_entries(&self, items: &[item::Item], entries: &mut Entries) {
        for item in items {
            match item::parse_index_entry(item) {
                Ok((position, peer, class)) => drop(entries.insert(position, (peer, class))),
                Err(error) => self.report_unreadable(item, &error),
            }
        }
    }

    /// Reads the peers of index entries, and returns those that are live and match the archetypes
    /// of the query. They are shuffled, because the order of a batch read is not random.
    ///
    /// Adds to `seen` how many peers were read, how many of them matched, and what the read cost.
    /// Records long-dormant peers for the sweep.
    pub(crate) async fn read_matching(
        &self,
        entries: Vec<(RingPosition, PeerId)>,
        query: &Query,
        seen: &mut Observation,
        now: Timestamp,
    ) -> Result<Vec<Arc<StoredPeer>>, StoreError> {
        // An entry whose peer was deleted meanwhile counts as read, but not as live.
        let peers_read = entries.iter().map(|(_, peer)| peer).collect::<HashSet<_>>().len();
        let (mut peers, half_units) = self.read_peers(entries).await?;
        seen.half_units += half_units;
        peers
            .iter()
            .filter(|stored| !stored.is_live(now))
            .for_each(|stored| self.dormant.record(stored, now));
        peers.retain(|stored| Self::is_listed(stored, &query.archetypes, now));
        fastrand::shuffle(&mut peers);
        seen.peers_read += to_u64(peers_read);
        seen.live += to_u64(peers.len());
        self.counters().stale_entries.add(peers_read.saturating_sub(peers.len()));
        Ok(peers)
    }
}

/// The query without its archetypes, for the uniform sample of all peers that fills a page.
fn without_archetypes(query: &Query) -> Query {
    Query { archetypes: Vec::new(), diverse: false, fill: false, ..query.clone() }
}

/// Adds a sample of a snapshot to a page. Returns the number of live peers that match.
fn sample_from_snapshot(peers: &Peers, query: &Query, page: &mut PageBuilder<'_>, now: Timestamp) -> u64 {
    let mut matching: Vec<&Arc<StoredPeer>> =
        peers.values().filter(|stored| matches(stored, query, now)).collect();
    let total = to_u64(matching.len());
    if query.diverse {
        fastrand::shuffle(&mut matching);
        let candidates = matching.into_iter().map(|stored| (stored, stored.holder.source.wide_network()));
        matching = choose_diverse(candidates.collect(), query.limit, &mut |below| fastrand::u32(..below));
    }
    // This is a Fisher-Yates shuffle that ends when the page is full. A diverse sample is in its
    // final order already.
    for n in 0..matching.len() {
        if !query.diverse {
            let chosen = fastrand::usize(n..matching.len());
            matching.swap(n, chosen);
        }
        if page.is_full() || !page.push(matching[n]) {
            break;
        }
    }
    total
}

/// Whether a peer is live, matches the archetypes of the query, and is not excluded by it.
pub(crate) fn matches(stored: &StoredPeer, query: &Query, now: Timestamp) -> bool {
    Core::is_listed(stored, &query.archetypes, now)
        && query.exclude.as_ref() != Some(&stored.registration.peer_id)
}
