//! The operations of operators: evicting peers, and replacing the list of blocks.

use aurora_discovery_protocol::{PeerId, PublicKey, Subject as Evictee, Timestamp};

use super::harness::{
    HOLDER_SOURCE, Harness, NEIGHBOUR_SOURCE, OTHER_SOURCE, PutRequestBuilder as _, TTL_AND_A_THIRD, at,
    claim_from, claim_with, id, key_of, peer, token,
};
use super::{Restart, Subject};
use crate::{BlockList, Evicted, Limits, Removal, Renewal};

impl Harness {
    async fn evict(&self, subjects: &[Evictee], now: Timestamp) -> Evicted {
        self.store.evict(subjects, now).await.expect("evict does not fail")
    }

    async fn locking_keys(&self, peers: &[PeerId], now: Timestamp) -> Vec<Option<PublicKey>> {
        self.store.locking_keys(peers, now).await.expect("locking_keys does not fail")
    }

    async fn blocks(&self) -> BlockList {
        self.store.blocks().await.expect("blocks does not fail")
    }

    async fn replace_blocks(&self, text: &str, version: u64) -> bool {
        self.store.replace_blocks(text, version).await.expect("replace_blocks does not fail")
    }
}

fn of_peer(name: &str) -> Evictee {
    Evictee::Peer(id(name))
}

fn of_source(prefix: &str) -> Evictee {
    Evictee::parse("source", prefix).expect("a valid prefix")
}

pub async fn an_evicted_peer_is_unknown_and_its_name_is_free(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let reserved = peer("live").with_token_only().with_new_token(token(1)).with_ttl(1_800);
    harness.register(&reserved.with_archetypes(&["a", "b"]), at(0)).await;
    harness.register(&peer("dormant"), at(0)).await;
    harness.register(&peer("other").with_ttl(1_800).with_archetypes(&["a"]), at(0)).await;
    let now = at(TTL_AND_A_THIRD);
    assert_eq!(harness.evict(&[of_peer("nobody")], now).await, Evicted::default());
    assert_eq!(harness.evict(&[of_peer("live")], now).await, Evicted { live: 1, dormant: 0 });
    assert_eq!(harness.evict(&[of_peer("dormant")], now).await, Evicted { live: 0, dormant: 1 });
    assert_eq!(harness.evict(&[of_peer("live"), of_peer("dormant")], now).await, Evicted::default());
    assert_eq!(harness.live(now).await, ["other"]);
    if harness.guarantees.exact_census {
        let census = harness.census(5, now).await;
        assert_eq!((census.live, census.dormant), (1, 0));
    }
    for name in ["live", "dormant"] {
        let claim = claim_with(token(1), HOLDER_SOURCE);
        assert_eq!(harness.renew_as(name, &claim, now).await, Renewal::Unknown, "{name}");
        assert_eq!(harness.remove(name, &claim, now).await, Removal::Unknown, "{name}");
        harness.register(&peer(name).with_source(OTHER_SOURCE), now).await;
    }
    assert_eq!(harness.live(now).await, ["dormant", "live", "other"]);
}

pub async fn evicting_a_key_deletes_its_peers_and_unlocks_their_names(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("live").signed_by(1, 1).with_ttl(1_800), at(0)).await;
    harness.register(&peer("dormant").signed_by(1, 1), at(0)).await;
    harness.register(&peer("left").signed_by(1, 1), at(0)).await;
    let left = harness.remove("left", &claim_with(token(1), HOLDER_SOURCE), at(1)).await;
    assert_eq!(left, Removal::Removed { was_live: true });
    harness.register(&peer("of-other-key").signed_by(2, 1).with_ttl(1_800), at(0)).await;
    harness.register(&peer("unsigned").with_ttl(1_800), at(0)).await;
    let now = at(TTL_AND_A_THIRD);
    let evicted = harness.evict(&[Evictee::Key(key_of(1))], now).await;
    assert_eq!(evicted, Evicted { live: 1, dormant: 1 });
    assert_eq!(harness.live(now).await, ["of-other-key", "unsigned"]);
    for name in ["live", "dormant", "left"] {
        harness.register(&peer(name).with_source(OTHER_SOURCE), now).await;
    }
}

pub async fn evicting_a_source_deletes_the_peers_of_its_prefix(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["a", "b", "c"] {
        harness.register(&peer(name), at(0)).await;
    }
    harness.register(&peer("neighbour").with_source(NEIGHBOUR_SOURCE), at(0)).await;
    harness.register(&peer("other").with_source(OTHER_SOURCE), at(0)).await;
    harness.register(&peer("v6").with_source("2001:db8:7:1::1"), at(0)).await;
    harness.register(&peer("v6-other").with_source("2001:db8:8:1::1"), at(0)).await;
    assert_eq!(harness.evict(&[of_source("192.0.2.0/24")], at(1)).await, Evicted::default());
    assert_eq!(harness.evict(&[of_source(HOLDER_SOURCE)], at(1)).await, Evicted { live: 3, dormant: 0 });
    assert_eq!(harness.live(at(1)).await, ["neighbour", "other", "v6", "v6-other"]);
    let both = [of_source("203.0.113.0/24"), of_source("2001:db8:7::/48")];
    assert_eq!(harness.evict(&both, at(1)).await, Evicted { live: 2, dormant: 0 });
    assert_eq!(harness.live(at(1)).await, ["other", "v6-other"]);
    // Only the source of the registration matters, not the sources of heartbeats.
    harness.renew_as("other", &claim_from(HOLDER_SOURCE), at(2)).await;
    assert_eq!(harness.evict(&[of_source(HOLDER_SOURCE)], at(2)).await, Evicted::default());
}

pub async fn the_key_that_locks_a_name_is_known_while_it_does(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("live").signed_by(1, 1).with_ttl(1_800), at(0)).await;
    harness.register(&peer("dormant").signed_by(2, 1), at(0)).await;
    harness.register(&peer("unsigned").with_ttl(1_800), at(0)).await;
    let now = at(TTL_AND_A_THIRD);
    harness.register(&peer("left").signed_by(3, 1), now).await;
    harness.remove("left", &claim_with(token(3), HOLDER_SOURCE), now).await;
    let peers: Vec<_> = ["dormant", "nobody", "live", "unsigned", "left"].map(id).into();
    let [one, two, three] = [1, 2, 3].map(|number| Some(key_of(number)));
    assert_eq!(harness.locking_keys(&peers, now).await, [two, None, one, None, three]);
    assert_eq!(harness.locking_keys(&peers[4..], now).await, [three]);
    // The locks of `left` and `dormant` have ended. The lock of a deregistered peer ends after ten
    // minutes. The lock of `dormant` outlasts the lease by the duration of the lease.
    let later = at(TTL_AND_A_THIRD + 600);
    assert_eq!(harness.locking_keys(&peers, later).await, [None, None, one, None, None]);
}

pub async fn the_list_of_blocks_is_replaced_only_in_its_version(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let empty = harness.blocks().await;
    assert_eq!(empty.text, "");
    assert!(harness.replace_blocks("one\n", empty.version).await);
    let one = harness.blocks().await;
    assert_eq!(one.text, "one\n");
    assert_ne!(one.version, empty.version);
    assert!(!harness.replace_blocks("two\n", empty.version).await);
    assert_eq!(harness.blocks().await, one);
    let long = "x".repeat(128 << 10);
    assert!(harness.replace_blocks(&long, one.version).await);
    let version = harness.blocks().await.version;
    assert!(harness.replace_blocks("", version).await);
    assert_eq!(harness.blocks().await.text, "");
}

pub async fn the_list_of_blocks_survives_a_restart(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let version = harness.blocks().await.version;
    assert!(harness.replace_blocks("one\n", version).await);
    if harness.guarantees.restart == Restart::Empty {
        return;
    }
    harness.store.close().await.expect("close does not fail");
    let again = subject.open(&Limits::default(), at(1)).await;
    let blocks = again.blocks().await.expect("blocks does not fail");
    assert_eq!(blocks.text, "one\n");
    assert!(again.replace_blocks("two\n", blocks.version).await.expect("replace_blocks does not fail"));
}
