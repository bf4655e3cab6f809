//! Tests on a disk that is small compared with a day's writes, but large enough for all peers.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aurora_discovery_embedded::EmbeddedOptions;
use aurora_discovery_embedded::testing::{LossyDisk, open_on};
use aurora_discovery_protocol::{
    Address, Archetypes, LeaseToken, Metadata, PeerId, Registration, Timestamp, Ttl,
};
use aurora_discovery_registry::{Claim, PutRequest, Signing, Source, Store, TokenHash, WebOrigin};

const CAPACITY: u64 = 16 << 20;

fn put(peer: u32) -> PutRequest {
    let claim = Claim {
        source: Source::of("203.0.113.7".parse().unwrap()),
        page: WebOrigin::None,
        token: None,
        holder_rule_disabled: false,
    };
    PutRequest {
        registration: Registration {
            peer_id: PeerId::parse(&format!("peer-{peer}")).unwrap(),
            address: Address::parse("203.0.113.7").unwrap().unwrap(),
            port: 9_000,
            archetypes: Archetypes::parse(&["pepino"]).unwrap(),
            metadata: Metadata::parse(&format!(r#"{{"filler": "{}"}}"#, "x".repeat(3_900))).unwrap(),
        },
        ttl: Ttl::from_secs(300),
        claim,
        token_only: false,
        new_token: TokenHash::of(&LeaseToken::from_random([1; 16])),
        signing: Signing::Unsigned,
    }
}

#[tokio::test]
async fn the_journal_of_a_small_registry_never_fills_a_small_disk() {
    stays_within_a_small_disk(EmbeddedOptions { preallocate: 64 << 10, ..EmbeddedOptions::default() }, 100)
        .await;
}

#[tokio::test]
async fn preallocation_leaves_space_for_a_checkpoint_on_a_small_disk() {
    stays_within_a_small_disk(EmbeddedOptions::default(), 1_000).await;
}

/// Registers `peers` peers repeatedly, some at a time, until the writes would have filled the disk
/// twice.
async fn stays_within_a_small_disk(options: EmbeddedOptions, peers: u32) {
    const CONCURRENT: u32 = 100;
    let disk = LossyDisk::new(1);
    disk.set_capacity(Some(CAPACITY));
    let now = Timestamp::from_secs(1_759_406_400);
    let store = open_on(Arc::new(disk.clone()), options, now).unwrap();
    let rounds = u32::try_from(2 * CAPACITY / (4_000 * u64::from(CONCURRENT))).unwrap();
    for round in 0..rounds {
        let mut registrations = tokio::task::JoinSet::new();
        for peer in 0..CONCURRENT {
            let (store, peer) = (Arc::clone(&store), (round * CONCURRENT + peer) % peers);
            registrations.spawn(async move { store.put(put(peer), now).await });
        }
        while let Some(placed) = registrations.join_next().await {
            placed.unwrap().unwrap();
        }
        store.sweep(now).await.unwrap();
        // Another thread takes the checkpoint, which a busy machine may delay.
        let deadline = Instant::now() + Duration::from_secs(300);
        while disk.used() > CAPACITY * 3 / 4 {
            assert!(Instant::now() < deadline, "no checkpoint shortens the journal");
            store.sweep(now).await.unwrap();
        }
    }
}
