//! Enumerations: all peers that match a query, page by page, in the order of their positions on the
//! ring.
//!
//! The cursor of a page is the last position that the page covers. The position of a peer never
//! changes, so peers that register or expire between two pages do not move the others.

use std::collections::BTreeMap;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Enumeration, Position, Query, StoreError, Total};

use crate::cache::{Network, Peers};
use crate::core::Core;
use crate::estimate::{Observation, to_u64};
use crate::expression::Expression;
use crate::item;
use crate::lane::{LaneGroup, RingPosition};
use crate::page::PageBuilder;
use crate::sample::{Entries, matches};

/// Maximum number of rounds per page. A round reads one lane at most, so this is enough to cross
/// the sixteen lanes of a rare archetype. A page that has space left after the last round ends with
/// a cursor, and the next page continues there.
const MAX_ROUNDS: usize = 24;
/// Minimum and maximum number of entries that one round requests. If the rest of the page's budget
/// does not suffice for the minimum, the round requests fewer.
const ROUND_ENTRIES: (usize, usize) = (50, 1_000);

impl Core {
    pub(crate) async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        // The fingerprint in a cursor shows which table it is from. Positions depend on the table's
        // secret, so a cursor of another table cannot be used here.
        let fingerprint = self.secret().await?.fingerprint();
        let from = match after {
            None => Some(RingPosition(0)),
            // `from` becomes `None` if the cursor is at the end of the ring.
            Some(cursor) => match decode_position(cursor, fingerprint) {
                Some(position) => position.0.checked_add(1).map(RingPosition),
                None => return Ok(Enumeration::Foreign),
            },
        };
        let network = self.network().await?;
        let Some(from) = from else {
            let page = self.page(query, now).finish(self.total(&network, query, now));
            return Ok(Enumeration::Page(page, None));
        };
        let (page, last) = match &network {
            Network::Small(peers) => page_from_snapshot(peers, self.page(query, now), query, from, now),
            Network::Large => self.page_from_ring(query, from, now).await?,
        };
        let next = last.map(|position| Position([fingerprint.as_slice(), &position.to_bytes()].concat()));
        Ok(Enumeration::Page(page.finish(self.total(&network, query, now)), next))
    }

    /// The number of live peers that match: exact for a small network, otherwise an estimate.
    fn total(&self, network: &Network, query: &Query, now: Timestamp) -> Total {
        match network {
            Network::Small(peers) => {
                Total::Exact(to_u64(peers.values().filter(|stored| matches(stored, query, now)).count()))
            }
            Network::Large => {
                Total::Estimate(self.sizes.get(&query.archetypes).map_or(0, |seen| seen.estimated_live()))
            }
        }
    }

    /// Reads a page from the index, from position `from` on. Also returns the last position that
    /// the page covers, or `None` if it covers the rest of the ring.
    ///
    /// Each round reads the index entries of a range within one lane, and then the peers of these
    /// entries. The range ends at the last position up to which all entries were read. The next
    /// round continues after it.
    async fn page_from_ring<'q>(
        &self,
        query: &'q Query,
        mut from: RingPosition,
        now: Timestamp,
    ) -> Result<(PageBuilder<'q>, Option<RingPosition>), StoreError> {
        let mut page = self.page(query, now);
        let mut seen = Observation::default();
        let mut done = None;
        for _ in 0..MAX_ROUNDS {
            let wanted = page.missing().clamp(ROUND_ENTRIES.0, ROUND_ENTRIES.1).min(page.readable().max(1));
            let (entries, complete_to, half_units) = self.entries_up_to(query, from, wanted).await?;
            let read = entries.len();
            seen.half_units = half_units;
            seen.entries += to_u64(entries.len());
            seen.covered += u128::from(complete_to.0 - from.0) + 1;
            let stopped = self.list_in_order(entries, query, &mut page, &mut seen, now).await?;
            page.charge(std::mem::take(&mut seen.half_units), read);
            // The page is full. Its cursor is the position before the peer that did not fit, so
            // that the next page starts with this peer.
            if let Some(stopped) = stopped {
                done = stopped.0.checked_sub(1).map(RingPosition);
                self.sizes.add(&query.archetypes, &seen);
                return Ok((page, done.or(position_before(from))));
            }
            // All peers of this round's range fit. The next round starts after the range, unless
            // the range ends at the end of the ring.
            done = Some(complete_to);
            match complete_to.0.checked_add(1) {
                Some(next) => from = RingPosition(next),
                None => {
                    done = None;
                    break;
                }
            }
            // The budget of read units is spent. The next page continues here.
            if page.readable() == 0 {
                break;
            }
        }
        self.sizes.add(&query.archetypes, &seen);
        Ok((page, done))
    }

    /// Reads the peers of the entries, and adds those that match to the page in the order of the
    /// ring. Returns the position of the first peer that did not fit, or `None` if all did.
    async fn list_in_order(
        &self,
        entries: Entries,
        query: &Query,
        page: &mut PageBuilder<'_>,
        seen: &mut Observation,
        now: Timestamp,
    ) -> Result<Option<RingPosition>, StoreError> {
        let entries = entries.into_iter().map(|(position, (peer, _))| (position, peer));
        let requested = entries.filter(|(_, peer)| query.exclude.as_ref() != Some(peer)).collect();
        let listed = self.read_matching(requested, query, seen, now).await?;
        let secret = self.secret().await?;
        // A batch read returns items in any order.
        let in_order: BTreeMap<_, _> = listed
            .into_iter()
            .map(|stored| (secret.position(&stored.registration.peer_id), stored))
            .collect();
        Ok(in_order.into_iter().find(|(_, stored)| !page.push(stored)).map(|(position, _)| position))
    }

    /// Reads about `wanted` entries from position `from` on, within one lane. Also returns the
    /// position up to which all entries were read, and the cost of the read in half read units.
    async fn entries_up_to(
        &self,
        query: &Query,
        from: RingPosition,
        wanted: usize,
    ) -> Result<(Entries, RingPosition, u64), StoreError> {
        // A query cannot read beyond a lane, because the lane is a part of the index's hash key.
        let lane_end = from.lane().last();
        let limit = i32::try_from(wanted).unwrap_or(i32::MAX);
        let mut complete_to = lane_end;
        let (mut entries, mut half_units) = (Entries::new(), 0);
        for group in LaneGroup::for_query(&query.archetypes) {
            let window = Expression::window(group.lane_key(from.lane()), from, lane_end);
            let page = self.table.query(window, Some(limit), None).await?;
            half_units += page.half_units;
            // If the query ended at its limit, the entries of this group are complete only up to
            // the last one that it returned. `complete_to` becomes the lowest of these positions,
            // up to which all groups are complete. Entries beyond it are dropped below, and the
            // next round reads them again.
            if page.next.is_some()
                && let Some(Ok((position, ..))) = page.items.last().map(item::parse_index_entry)
            {
                complete_to = complete_to.min(position.last_key());
            }
            self.parse_entries(&page.items, &mut entries);
        }
        entries.retain(|position, _| *position <= complete_to);
        let secret = self.secret().await?;
        self.recent.apply_to((from, complete_to), &query.archetypes, secret, &mut entries);
        Ok((entries, complete_to, half_units))
    }
}

/// The position before `from`, which is the cursor of a page that covers no position. `None` at the
/// start of the ring.
fn position_before(from: RingPosition) -> Option<RingPosition> {
    from.0.checked_sub(1).map(RingPosition)
}

/// Adds the matching peers of a snapshot to the page, from position `from` on. Also returns the
/// last position that the page covers, or `None` if it covers the rest of the ring.
fn page_from_snapshot<'q>(
    peers: &Peers,
    mut page: PageBuilder<'q>,
    query: &'q Query,
    from: RingPosition,
    now: Timestamp,
) -> (PageBuilder<'q>, Option<RingPosition>) {
    let mut last = None;
    for (position, stored) in peers.range(from..) {
        if matches(stored, query, now) && !page.push(stored) {
            return (page, last);
        }
        last = Some(position.last_key());
    }
    (page, None)
}

/// The ring position in a cursor. `None` if the cursor is from another table or malformed.
fn decode_position(cursor: &Position, fingerprint: [u8; 4]) -> Option<RingPosition> {
    let (table, position) = cursor.0.split_first_chunk::<4>()?;
    (*table == fingerprint).then(|| RingPosition::from_bytes(position)).flatten()
}
