//! Enumerations follow the ring from place to place. A peer's place never changes, so other peers
//! that come or go do not affect it.

use std::collections::BTreeMap;

use aurora_discovery_protocol::Timestamp;
use aurora_discovery_registry::{Enumeration, Position, Query, StoreError, Total};

use crate::core::Core;
use crate::item::{self, Expression};
use crate::lane::{Family, Place};
use crate::memory::{Network, Peers};
use crate::page::PageInMaking;
use crate::sample::{Entries, matches};
use crate::size::{Seen, to_u64};

/// Maximum number of rounds per page: enough to cross all lanes of a rare archetype. If the page is
/// still short then, it has a cursor to continue.
const ROUNDS: usize = 24;
/// Minimum and maximum number of entries that one round reads.
const ROUND_ENTRIES: (usize, usize) = (50, 1_000);

impl Core {
    pub(crate) async fn enumerate(
        &self,
        query: &Query,
        after: Option<&Position>,
        now: Timestamp,
    ) -> Result<Enumeration, StoreError> {
        let fingerprint = self.secret().await?.fingerprint();
        let from = match after {
            None => Some(Place(0)),
            Some(position) => match place_of(position, fingerprint) {
                Some(place) => place.0.checked_add(1).map(Place),
                None => return Ok(Enumeration::Foreign),
            },
        };
        let network = self.network().await?;
        let Some(from) = from else {
            let page = PageInMaking::new(query, now).finish(self.total(&network, query, now));
            return Ok(Enumeration::Page(page, None));
        };
        let (page, last) = match &network {
            Network::Small(peers) => page_of_snapshot(peers, query, from, now),
            Network::Large => self.page_of_ring(query, from, now).await?,
        };
        let next = last.map(|place| Position([fingerprint.as_slice(), &place.to_bytes()].concat()));
        Ok(Enumeration::Page(page.finish(self.total(&network, query, now)), next))
    }

    fn total(&self, network: &Network, query: &Query, now: Timestamp) -> Total {
        match network {
            Network::Small(peers) => {
                Total::Exact(to_u64(peers.values().filter(|stored| matches(stored, query, now)).count()))
            }
            Network::Large => {
                Total::Estimate(self.sizes.of(&query.archetypes).map_or(0, |seen| seen.live_in_all()))
            }
        }
    }

    /// A page, and the last place that it covers. `None` if it covers the rest of the ring.
    async fn page_of_ring<'q>(
        &self,
        query: &'q Query,
        mut from: Place,
        now: Timestamp,
    ) -> Result<(PageInMaking<'q>, Option<Place>), StoreError> {
        let mut page = PageInMaking::new(query, now);
        let mut seen = Seen::default();
        let mut done = None;
        for _ in 0..ROUNDS {
            let wanted = query.limit.saturating_sub(page.len()).clamp(ROUND_ENTRIES.0, ROUND_ENTRIES.1);
            let (entries, reach) = self.entries_up_to(query, from, wanted).await?;
            seen.entries += to_u64(entries.len());
            seen.covered += u128::from(reach.0 - from.0) + 1;
            if let Some(stopped) = self.list_in_order(entries, query, &mut page, &mut seen, now).await? {
                done = stopped.0.checked_sub(1).map(Place);
                self.sizes.saw(&query.archetypes, &seen);
                return Ok((page, done.or(after_nothing(from))));
            }
            done = Some(reach);
            match reach.0.checked_add(1) {
                Some(next) => from = Place(next),
                None => {
                    done = None;
                    break;
                }
            }
        }
        self.sizes.saw(&query.archetypes, &seen);
        Ok((page, done))
    }

    /// Lists the live peers in the order of the ring. Returns the place of the first peer that did
    /// not fit.
    async fn list_in_order(
        &self,
        entries: Entries,
        query: &Query,
        page: &mut PageInMaking<'_>,
        seen: &mut Seen,
        now: Timestamp,
    ) -> Result<Option<Place>, StoreError> {
        let asked: Vec<_> =
            entries.into_iter().filter(|(_, peer)| query.exclude.as_ref() != Some(peer)).collect();
        let listed = self.look_at(asked, query, seen, now).await?;
        let secret = self.secret().await?;
        let in_order: BTreeMap<_, _> =
            listed.into_iter().map(|stored| (secret.place(&stored.registration.peer_id), stored)).collect();
        Ok(in_order.into_iter().find(|(_, stored)| !page.push(stored)).map(|(place, _)| place))
    }

    /// About `wanted` entries of a lane, starting at a place. Also returns the place up to which
    /// they are complete.
    async fn entries_up_to(
        &self,
        query: &Query,
        from: Place,
        wanted: usize,
    ) -> Result<(Entries, Place), StoreError> {
        let lane_end = from.lane().last();
        let limit = i32::try_from(wanted).unwrap_or(i32::MAX);
        let mut reach = lane_end;
        let mut entries = Entries::new();
        for family in Family::of(&query.archetypes) {
            let window = Expression::window(family.lane_key(from.lane()), from, lane_end);
            let page = self.table.query(window, Some(limit), None).await?;
            // A family that has further entries is complete only up to its last one. The union is
            // complete up to the first such place, and entries after it are left for the next
            // round.
            if page.next.is_some()
                && let Some(Ok((place, _))) = page.items.last().map(item::indexed)
            {
                reach = reach.min(place);
            }
            self.collect(&page.items, &mut entries);
        }
        entries.retain(|place, _| *place <= reach);
        self.recent.correct((from, reach), &query.archetypes, &mut entries);
        Ok((entries, reach))
    }
}

/// The place before `from`, if the page had no room for its first peer.
fn after_nothing(from: Place) -> Option<Place> {
    from.0.checked_sub(1).map(Place)
}

fn page_of_snapshot<'q>(
    peers: &Peers,
    query: &'q Query,
    from: Place,
    now: Timestamp,
) -> (PageInMaking<'q>, Option<Place>) {
    let mut page = PageInMaking::new(query, now);
    let mut last = None;
    for (place, stored) in peers.range(from..) {
        if matches(stored, query, now) && !page.push(stored) {
            return (page, last);
        }
        last = Some(*place);
    }
    (page, None)
}

fn place_of(position: &Position, fingerprint: [u8; 4]) -> Option<Place> {
    let (made_by, place) = position.0.split_first_chunk::<4>()?;
    (*made_by == fingerprint).then(|| Place::from_bytes(place)).flatten()
}
