//! The peers of a fairness test: they stay until the end, leave, or join for one round.

use std::collections::BTreeMap;

use aurora_discovery_protocol::Timestamp;
use fastrand::Rng;
use serde::Deserialize;

use super::super::harness::{PutRequestBuilder as _, at, id, peer};
use super::{FairnessTest, QueryKind};
use crate::{Claim, PutRequest, PutResult, Query, Renewal, Store, StoreError};

/// Two durations of a lease. The long one outlasts every fairness test. The short one has ended by
/// the next round, even if a store extends the lease by a third.
const LONG_SECONDS: u32 = 3_600;
const SHORT_SECONDS: u32 = 60;
const ROUND_SECONDS: u64 = 100;
/// The maximum number of stable peers whose pairs are counted.
const MAX_WATCHED: usize = 60;

pub(super) struct Population<'s> {
    store: &'s dyn Store,
    rng: Rng,
    now: Timestamp,
    churn: u32,
    /// The number of peers that have ever registered.
    registered: u32,
    /// The live peers by name.
    live: BTreeMap<String, Member>,
    dormant: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Member {
    /// The number from which its name and its archetypes are derived.
    number: u32,
    lifetime: Lifetime,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lifetime {
    WholeTest,
    UntilDeregistered,
    OneRound,
}

impl<'s> Population<'s> {
    pub(super) async fn new(store: &'s dyn Store, test: &FairnessTest) -> Result<Self, StoreError> {
        let mut population = Self {
            store,
            rng: Rng::with_seed(test.seed),
            now: at(0),
            churn: test.churn,
            registered: 0,
            live: BTreeMap::new(),
            dormant: Vec::new(),
        };
        // Peers that will leave are interleaved with peers that stay. Their departure then leaves
        // gaps throughout a store's order, not only at its end.
        for number in 0..test.stable_peers + 2 * test.churn {
            let leaves = number % 2 == 1 && number / 2 < 2 * test.churn;
            population.join(if leaves { Lifetime::UntilDeregistered } else { Lifetime::WholeTest }).await?;
        }
        Ok(population)
    }

    /// The stable peers that match, up to the number whose pairs are counted.
    pub(super) fn watched(&self, kind: QueryKind) -> Vec<String> {
        let stable_peers = self.live.iter().filter(|(_, member)| member.lifetime == Lifetime::WholeTest);
        let matching = stable_peers.filter(|(_, member)| matches(kind, member.number));
        matching.take(MAX_WATCHED).map(|(name, _)| name.clone()).collect()
    }

    /// Advances the time to the next round. Some peers join, leave, expire, are revived and
    /// register again.
    pub(super) async fn advance(&mut self) -> Result<(), StoreError> {
        self.now = self.now.plus_millis(ROUND_SECONDS * 1_000);
        let expired = self.names_with(Lifetime::OneRound);
        self.live.retain(|_, member| member.lifetime != Lifetime::OneRound);
        self.dormant.extend(expired);
        for _ in 0..self.churn {
            self.leave().await?;
            self.join(Lifetime::UntilDeregistered).await?;
            self.join(Lifetime::OneRound).await?;
        }
        for _ in 0..self.churn / 4 {
            self.revive().await?;
            self.register_again().await?;
        }
        Ok(())
    }

    /// The names of the matching peers, sorted.
    pub(super) fn matching(&self, kind: QueryKind) -> Vec<String> {
        let matching = self.live.iter().filter(|(_, member)| matches(kind, member.number));
        matching.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn random(&mut self, names: &[String]) -> String {
        names[self.rng.usize(..names.len())].clone()
    }

    /// The names of the peers in a sample for `caller`.
    pub(super) async fn sample(&self, query: &Query, caller: &str) -> Result<Vec<String>, StoreError> {
        #[derive(Deserialize)]
        struct Listed {
            peer_id: String,
        }
        let query = Query { exclude: Some(id(caller)), ..query.clone() };
        let page = self.store.sample(&query, self.now).await?;
        let listed: Vec<Listed> = serde_json::from_slice(&page.peers.to_array()).expect("a list of peers");
        Ok(listed.into_iter().map(|peer| peer.peer_id).collect())
    }

    async fn join(&mut self, lifetime: Lifetime) -> Result<(), StoreError> {
        let number = self.registered;
        self.registered += 1;
        let lease = if lifetime == Lifetime::OneRound { SHORT_SECONDS } else { LONG_SECONDS };
        self.register(&registration(number).with_ttl(lease)).await?;
        self.live.insert(name(number), Member { number, lifetime });
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), StoreError> {
        let leaving = self.random(&self.names_with(Lifetime::UntilDeregistered));
        let holder = Claim { holder_rule_disabled: true, ..peer(&leaving).claim };
        self.store.remove(&id(&leaving), &holder, self.now).await?;
        self.live.remove(&leaving);
        Ok(())
    }

    async fn revive(&mut self) -> Result<(), StoreError> {
        if self.dormant.is_empty() {
            return Ok(());
        }
        let name = self.dormant.swap_remove(self.rng.usize(..self.dormant.len()));
        let number = name[1..].parse().expect("a peer's number");
        let renewal = self.store.renew(&id(&name), &registration(number).claim, self.now).await?;
        assert!(matches!(renewal, Renewal::Renewed { revived: true, .. }), "{name}: {renewal:?}");
        self.live.insert(name, Member { number, lifetime: Lifetime::OneRound });
        Ok(())
    }

    async fn register_again(&mut self) -> Result<(), StoreError> {
        let again = self.random(&self.names_with(Lifetime::WholeTest));
        let number = self.live[&again].number;
        self.register(&registration(number).with_ttl(LONG_SECONDS)).await
    }

    async fn register(&self, put: &PutRequest) -> Result<(), StoreError> {
        let placement = self.store.put(put.clone(), self.now).await?;
        assert!(matches!(placement, PutResult::Stored { .. }), "{placement:?}");
        Ok(())
    }

    fn names_with(&self, lifetime: Lifetime) -> Vec<String> {
        self.live
            .iter()
            .filter(|(_, member)| member.lifetime == lifetime)
            .map(|(name, _)| name.clone())
            .collect()
    }
}

fn name(number: u32) -> String {
    format!("p{number}")
}

/// The registration of a peer with a distinct address.
fn registration(number: u32) -> PutRequest {
    let [_, b, c, d] = number.to_be_bytes();
    peer(&name(number)).with_source(&format!("10.{b}.{c}.{d}")).with_archetypes(&archetypes(number))
}

/// Of ten peers, three carry one archetype, three the other, and two both. One peer in eight
/// carries a rare archetype as well.
fn archetypes(number: u32) -> Vec<&'static str> {
    let mut archetypes = match number % 10 {
        0..3 => vec!["a"],
        3..6 => vec!["b"],
        6..8 => vec!["a", "b"],
        _ => vec![],
    };
    if number.is_multiple_of(8) {
        archetypes.push("rare");
    }
    archetypes
}

fn matches(kind: QueryKind, number: u32) -> bool {
    let wanted = kind.archetypes();
    wanted.is_empty() || archetypes(number).iter().any(|archetype| wanted.contains(archetype))
}
