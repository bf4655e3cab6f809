//! Enumerations follow the ring in ascending order. A peer's position never changes, so peers that
//! register or expire in the meantime do not affect the others.

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

/// Maximum number of rounds per page: enough to cross all lanes of a rare archetype. If the page is
/// still short then, it has a cursor to continue.
const MAX_ROUNDS: usize = 24;
/// Minimum and maximum number of entries that one round reads.
const ROUND_ENTRIES: (usize, usize) = (50, 1_000);

impl Core {
    pub(crate) async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        // A cursor of another table has another fingerprint: its positions mean nothing here.
        let fingerprint = self.secret().await?.fingerprint();
        let from = match after {
            None => Some(RingPosition(0)),
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

    /// A page, and the last position that it covers. `None` if it covers the rest of the ring.
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
            // The page is full. The next one starts with the peer that did not fit.
            let stopped = self.list_in_order(entries, query, &mut page, &mut seen, now).await?;
            page.charge(std::mem::take(&mut seen.half_units), read);
            if let Some(stopped) = stopped {
                done = stopped.0.checked_sub(1).map(RingPosition);
                self.sizes.add(&query.archetypes, &seen);
                return Ok((page, done.or(position_before(from))));
            }
            done = Some(complete_to);
            match complete_to.0.checked_add(1) {
                Some(next) => from = RingPosition(next),
                None => {
                    done = None;
                    break;
                }
            }
            // The next page continues after the peers that this one could afford.
            if page.readable() == 0 {
                break;
            }
        }
        self.sizes.add(&query.archetypes, &seen);
        Ok((page, done))
    }

    /// Lists the live peers in the order of the ring. Returns the position of the first peer that
    /// did not fit.
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

    /// About `wanted` entries of a lane, starting at a position. Also returns the position up to
    /// which they are complete, and what reading them cost in half read units.
    async fn entries_up_to(
        &self,
        query: &Query,
        from: RingPosition,
        wanted: usize,
    ) -> Result<(Entries, RingPosition, u64), StoreError> {
        // One query reads one lane, because the lane is the index's hash key.
        let lane_end = from.lane().last();
        let limit = i32::try_from(wanted).unwrap_or(i32::MAX);
        let mut complete_to = lane_end;
        let (mut entries, mut half_units) = (Entries::new(), 0);
        for group in LaneGroup::for_query(&query.archetypes) {
            let window = Expression::window(group.lane_key(from.lane()), from, lane_end);
            let page = self.table.query(window, Some(limit), None).await?;
            half_units += page.half_units;
            // A group that has further entries is complete only up to its last one. The union is
            // complete up to the first such position, and entries after it are left for the next
            // round.
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

/// The position before `from`, if the page had no space for its first peer.
fn position_before(from: RingPosition) -> Option<RingPosition> {
    from.0.checked_sub(1).map(RingPosition)
}

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

/// The ring position in a cursor, if the cursor is from this table.
fn decode_position(cursor: &Position, fingerprint: [u8; 4]) -> Option<RingPosition> {
    let (table, position) = cursor.0.split_first_chunk::<4>()?;
    (*table == fingerprint).then(|| RingPosition::from_bytes(position)).flatten()
}
