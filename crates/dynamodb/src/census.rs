//! The census: exact for a small network, estimated from a sample for a large one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aurora_discovery_protocol::{Archetype, Timestamp, View};
use aurora_discovery_registry::{Census, Query, StoreError};

use crate::core::Core;
use crate::item::Stored;
use crate::memory::{Network, Peers};
use crate::size::{Seen, scale, to_u64};

/// How long the census of a large network is reused. It costs about seventy read units.
const HOLD: Duration = Duration::from_secs(60);
/// Number of peers that are sampled from a large network.
const SAMPLE: usize = 100;

impl Core {
    pub(crate) async fn census(&self, archetypes: usize, now: Timestamp) -> Result<Census, StoreError> {
        let mut census = match self.network().await? {
            Network::Small(peers) => self.count(&peers, now),
            Network::Large => self.estimated_census(now).await?,
        };
        census.by_archetype.truncate(archetypes);
        Ok(census)
    }

    fn count(&self, peers: &Peers, now: Timestamp) -> Census {
        let live = peers.values().filter(|stored| stored.is_live(now));
        let known = peers.values().filter(|stored| stored.is_known(now, self.revival_window_millis));
        let by_archetype = by_archetype(live.clone(), 1, 1);
        let live = to_u64(live.count());
        Census {
            live,
            dormant: to_u64(known.count()).saturating_sub(live),
            archetypes: to_u64(by_archetype.len()),
            by_archetype,
        }
    }

    async fn estimated_census(&self, now: Timestamp) -> Result<Census, StoreError> {
        if let Some(census) = self.census.younger_than(HOLD) {
            return Ok(census);
        }
        let everybody = Query {
            archetypes: Vec::new(),
            exclude: None,
            view: View::Legacy,
            limit: SAMPLE,
            page_bytes: usize::MAX,
            fill: false,
        };
        let (sampled, seen) = self.live_sample(&everybody, now).await?;
        let live = seen.live_in_all();
        let by_archetype = by_archetype(sampled.iter(), live, to_u64(sampled.len()));
        let census = Census {
            live,
            dormant: seen.entries_in_all().saturating_sub(live),
            archetypes: to_u64(by_archetype.len()),
            by_archetype,
        };
        self.census.remember(&census);
        Ok(census)
    }

    /// A random sample of live peers, and the entries that were counted for it.
    async fn live_sample(
        &self,
        query: &Query,
        now: Timestamp,
    ) -> Result<(Vec<Arc<Stored>>, Seen), StoreError> {
        let known = match self.sizes.of(&query.archetypes) {
            Some(seen) => seen,
            None => self.sizes.saw(&query.archetypes, &self.probe(&query.archetypes).await?),
        };
        let (picks, mut seen) = self.windows(query, &known, known.entries_for(query.limit), 0).await?;
        let peers = self.look_at(picks, query, &mut seen, now).await?;
        Ok((peers, self.sizes.saw(&query.archetypes, &seen)))
    }
}

/// The number of peers per archetype, in descending order. Counts are multiplied by `up / down`.
fn by_archetype<'a>(
    peers: impl Iterator<Item = &'a Arc<Stored>>,
    up: u64,
    down: u64,
) -> Vec<(Archetype, u64)> {
    let mut counts: HashMap<&Archetype, u64> = HashMap::new();
    for stored in peers {
        for archetype in stored.archetypes() {
            *counts.entry(archetype).or_default() += 1;
        }
    }
    let mut counted: Vec<_> =
        counts.into_iter().map(|(archetype, count)| (archetype.clone(), scale(count, up, down))).collect();
    counted.sort_unstable_by(|(name, count), (other, others)| others.cmp(count).then(name.cmp(other)));
    counted
}

impl Core {
    /// Whether the limit of peers is reached: by an exact count in a small network, otherwise by an
    /// estimate that may be a minute old. Many concurrent registrations may exceed the limit.
    pub(crate) async fn is_full(&self, now: Timestamp) -> Result<bool, StoreError> {
        const COUNTED_UP_TO: u64 = 1_000; // peers: beyond it, no network is small
        let live = if self.max_peers <= COUNTED_UP_TO {
            match self.network().await? {
                Network::Small(peers) => to_u64(peers.values().filter(|stored| stored.is_live(now)).count()),
                Network::Large => return Ok(true),
            }
        } else {
            let seen = match self.sizes.of(&[]) {
                Some(seen) => seen,
                None => self.sizes.saw(&[], &self.probe(&[]).await?),
            };
            seen.live_in_all()
        };
        Ok(live >= self.max_peers)
    }
}
