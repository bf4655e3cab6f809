//! The census: the numbers of live and dormant peers, and of peers per archetype. It is exact for a
//! small network, and estimated from a sample for a large one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Archetype, Timestamp, View};
use aurora_discovery_registry::{Census, Query, StoreError};

use crate::cache::{Network, Peers};
use crate::core::Core;
use crate::estimate::{Observation, scale, to_u64};
use crate::item::StoredPeer;

/// How long the census of a large network is reused. A new one costs about seventy read units.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Number of peers that are sampled from a large network.
const SAMPLE_SIZE: usize = 100;

impl Core {
    /// The census, with at most `archetypes` archetypes in its list of counts.
    pub(crate) async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        let mut census = match self.network().await? {
            Network::Small(peers) => self.count(&peers, now),
            Network::Large => self.estimated_census(now).await?,
        };
        census.by_archetype.truncate(archetypes);
        Ok(census)
    }

    /// The exact census of a small network.
    fn count(&self, peers: &Peers, now: Timestamp) -> Census {
        let live = peers.values().filter(|stored| stored.is_live(now));
        let known = peers.values().filter(|stored| {
            stored.is_known(now, self.revival_window_millis) && !stored.standing().is_tombstone()
        });
        let by_archetype = by_archetype(live.clone(), 1, 1);
        let live = to_u64(live.count());
        Census {
            live,
            dormant: to_u64(known.count()).saturating_sub(live),
            archetypes: to_u64(by_archetype.len()),
            by_archetype,
        }
    }

    /// The estimated census of a large network.
    async fn estimated_census(&self, now: Timestamp) -> Result<Census, StoreError> {
        if let Some(census) = self.last_census.younger_than(MAX_AGE) {
            return Ok(census);
        }
        let all_peers = Query {
            archetypes: Vec::new(),
            exclude: None,
            view: View::Legacy,
            limit: SAMPLE_SIZE,
            page_bytes: usize::MAX,
            diverse: false,
            fill: false,
        };
        let (sampled, seen) = self.live_sample(&all_peers, now).await?;
        let live = seen.estimated_live();
        // Extrapolates the counts in the sample to the estimated number of live peers.
        let by_archetype = by_archetype(sampled.iter(), live, to_u64(sampled.len()));
        let census = Census {
            live,
            dormant: seen.estimated_entries().saturating_sub(live),
            archetypes: to_u64(by_archetype.len()),
            by_archetype,
        };
        self.last_census.store(&census);
        Ok(census)
    }

    /// A random sample of live peers that match the query. Also returns the sum of the recent
    /// observations for this query, including those from this sample.
    async fn live_sample(
        &self,
        query: &Query,
        now: Timestamp,
    ) -> Result<(Vec<Arc<StoredPeer>>, Observation), StoreError> {
        let known = match self.sizes.get(&query.archetypes) {
            Some(seen) => seen,
            None => self.sizes.add(&query.archetypes, &self.probe(&query.archetypes).await?),
        };
        let wanted = known.entries_needed_for(query.limit);
        let (drawn, mut seen) = self.draw_windows(query, &known, (query.limit, wanted), 0).await?;
        let picks = drawn.picks.into_iter().map(|(position, peer, _)| (position, peer)).collect();
        let peers = self.read_matching(picks, query, &mut seen, now).await?;
        Ok((peers, self.sizes.add(&query.archetypes, &seen)))
    }
}

/// The number of peers per archetype, in descending order. Each count is multiplied by `numerator /
/// denominator`, so that the counts in a sample become estimates for the network.
fn by_archetype<'a>(
    peers: impl Iterator<Item = &'a Arc<StoredPeer>>,
    numerator: u64,
    denominator: u64,
) -> Vec<(Archetype, u64)> {
    let mut counts: HashMap<&Archetype, u64> = HashMap::new();
    for stored in peers {
        for archetype in stored.archetypes() {
            *counts.entry(archetype).or_default() += 1;
        }
    }
    let mut counted: Vec<_> = counts
        .into_iter()
        .map(|(archetype, count)| (archetype.clone(), scale(count, numerator, denominator)))
        .collect();
    // Equal counts are in alphabetical order, so that the result is deterministic.
    counted.sort_unstable_by(|(name, count), (other, others)| others.cmp(count).then(name.cmp(other)));
    counted
}

impl Core {
    /// Whether the limit of live peers is reached.
    ///
    /// If the limit and the network are small, the peers of the snapshot are counted. Otherwise the
    /// number is an estimate that may be a minute old. Concurrent registrations may together exceed
    /// the limit, because none of them counts the others.
    pub(crate) async fn is_full(&self, now: Timestamp) -> Result<bool, StoreError> {
        const MAX_COUNTED: u64 = 1_000; // the default of `snapshot_items`
        let network = if self.max_peers <= MAX_COUNTED { Some(self.network().await?) } else { None };
        let live = match network {
            Some(Network::Small(peers)) => {
                to_u64(peers.values().filter(|stored| stored.is_live(now)).count())
            }
            // A network counts as large if its table has many items. Markers and dormant peers are
            // items too, so a large network may have few live peers, and their number is estimated.
            Some(Network::Large) | None => {
                let seen = match self.sizes.get(&[]) {
                    Some(seen) => seen,
                    None => self.sizes.add(&[], &self.probe(&[]).await?),
                };
                seen.estimated_live()
            }
        };
        Ok(live >= self.max_peers)
    }
}
