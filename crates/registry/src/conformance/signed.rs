//! Signed registrations: a name that was signed is locked to its key.

use aurora_discovery_protocol::{PublicKey, Timestamp, View};

use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL, all_peers, at, claim_from, claim_with,
    key_of, peer, renewed, token,
};
use super::race::put_concurrently;
use super::{Restart, Subject};
use crate::{Held, Limits, PutRequest, PutResult, Query, Removal, Renewal, Signature, Signing};

const MINE: u8 = 1;
const OTHER: u8 = 2;
const DAY: u64 = 86_400;
/// How long a deregistered name stays locked, in seconds.
const TOMBSTONE: u64 = 600;

const LOCKED: PutResult = PutResult::Locked { key: PublicKey::from_bytes([MINE; PublicKey::LEN]) };

/// The registration of `name` by the key `MINE`.
fn mine(name: &str, seq: u64) -> PutRequest {
    peer(name).signed_by(MINE, seq)
}

/// The registration `put`, with the statement that its key replaces the key `key_of(old)`.
fn replacing(old: u8, put: PutRequest) -> PutRequest {
    let Signing::Signed(signature) = put.signing else { panic!("the registration is signed") };
    let signature = Signature { replaces: Some(key_of(old)), ..signature };
    PutRequest { signing: Signing::Signed(signature), ..put }
}

impl Harness {
    /// The signed registration of a live peer, as the full view lists it.
    async fn record(&self, name: &str, now: Timestamp) -> Option<String> {
        let listing = self.sample(&Query { view: View::Full, ..all_peers() }, now).await;
        listing.peers.into_iter().find(|peer| peer.peer_id.as_str() == name)?.signed
    }

    /// Asserts that the store refuses every registration that the key `MINE` did not sign.
    async fn assert_locked(&self, name: &str, now: Timestamp) {
        let by_token = peer(name).with_token(token(MINE));
        for attempt in
            [peer(name), by_token.clone(), by_token.with_token_only(), peer(name).with_source(OTHER_SOURCE)]
        {
            assert_eq!(self.put(&attempt, now).await, LOCKED, "{name}: {attempt:?}");
        }
        for attempt in
            [peer(name).signed_by(OTHER, u64::MAX), peer(name).signed_by(OTHER, 1).with_token(token(MINE))]
        {
            assert_eq!(self.put(&attempt, now).await, LOCKED, "{name}: {attempt:?}");
        }
    }
}

pub async fn the_full_view_has_the_signed_registration(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 7).with_metadata(r#"{"n":1}"#), at(0)).await;
    harness.register(&peer("unsigned"), at(0)).await;
    assert_eq!(harness.record("p", at(1)).await.as_deref(), Some("header.p-1-7.signature"));
    assert_eq!(harness.record("unsigned", at(1)).await, None);
    for view in [View::Legacy, View::Contact] {
        let listing = harness.sample(&Query { view, ..all_peers() }, at(1)).await;
        assert!(listing.peers.iter().all(|peer| peer.signed.is_none()), "{view:?}");
    }
    let full = Query { view: View::Full, ..all_peers() };
    let all = harness.sample(&full, at(1)).await;
    let cut = harness.sample(&Query { page_bytes: all.bytes - 1, ..full }, at(1)).await;
    assert!(cut.peers.len() == 1 && cut.bytes < all.bytes, "the record counts for the size of a page");
    harness.register(&mine("p", 8), at(2)).await;
    assert_eq!(harness.record("p", at(2)).await.as_deref(), Some("header.p-1-8.signature"));
    assert_eq!(harness.pages(&Query { view: View::Full, ..all_peers() }, at(2)).await[0].peers.len(), 2);
}

pub async fn only_the_key_of_a_name_replaces_it(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 1).with_archetypes(&["mine"]), at(0)).await;
    let before = harness.find("p", at(1)).await;
    harness.assert_locked("p", at(1)).await;
    assert_eq!(harness.find("p", at(1)).await, before);
    harness.register(&mine("p", 2), at(2)).await;
    harness.assert_locked("p", at(3)).await;
}

pub async fn only_a_record_with_a_higher_number_replaces_one(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 5), at(0)).await;
    let before = harness.find("p", at(1)).await;
    for seq in [0, 4, 5] {
        assert_eq!(harness.put(&mine("p", seq), at(1)).await, PutResult::Stale { seq: 5 });
    }
    assert_eq!(harness.find("p", at(1)).await, before);
    harness.register(&mine("p", 6), at(1)).await;
    assert_eq!(harness.put(&mine("p", 6), at(TTL)).await, PutResult::Stale { seq: 6 });
}

pub async fn the_key_replaces_without_the_token_from_any_source(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 1), at(0)).await;
    let again = PutRequest { new_token: token(9), ..mine("p", 2).with_source(OTHER_SOURCE) };
    assert!(!harness.register(&again, at(1)).await, "the record names the token");
    let old = harness.renew_as("p", &claim_with(token(MINE), HOLDER_SOURCE), at(2)).await;
    assert!(matches!(old, Renewal::Held(_)), "{old:?}");
    let new = harness.renew_as("p", &claim_with(token(9), HOLDER_SOURCE), at(2)).await;
    assert_eq!(new, renewed(300, false, at(1)));
    let with_old = PutRequest { new_token: token(8), ..mine("p", 3).with_token(token(9)) };
    assert!(!harness.register(&with_old, at(3)).await, "not even the presented token is kept");
}

pub async fn the_first_signature_of_a_live_name_needs_its_token(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(7)), at(0)).await;
    harness.register(&peer("reserved").with_new_token(token(7)).with_token_only(), at(0)).await;
    let held = Held { until: harness.lease_end("p", at(0)).await };
    let elsewhere = mine("p", 1).with_source(OTHER_SOURCE);
    for attempt in [mine("p", 1), elsewhere.clone(), mine("p", 1).with_token(token(9))] {
        assert_eq!(harness.put(&attempt, at(1)).await, PutResult::Held(held), "{attempt:?}");
    }
    harness.register(&elsewhere.with_token(token(7)), at(1)).await;
    harness.assert_locked("p", at(2)).await;
    let end = harness.lease_end("reserved", at(0)).await;
    assert!(matches!(harness.put(&mine("reserved", 1), end).await, PutResult::Held(_)));
    harness.register(&mine("reserved", 1).with_token(token(7)), end).await;
}

pub async fn a_free_name_can_be_signed_by_any_client(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_new_token(token(7)), at(0)).await;
    let end = harness.lease_end("p", at(0)).await;
    harness.register(&mine("p", 1).with_source(OTHER_SOURCE), end).await;
    harness.assert_locked("p", end).await;
}

pub async fn only_its_token_renews_or_deregisters_a_signed_peer(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 1), at(0)).await;
    let holder = claim_with(token(MINE), OTHER_SOURCE);
    let others = [claim_from(HOLDER_SOURCE), claim_with(token(9), HOLDER_SOURCE), claim_from(OTHER_SOURCE)];
    let end = harness.lease_end("p", at(0)).await;
    // The lock is in force while the peer is live, and while it is dormant.
    for now in [at(10), end] {
        for claim in others {
            assert!(matches!(harness.renew_as("p", &claim, now).await, Renewal::Held(_)), "{claim:?}");
            assert!(matches!(harness.remove("p", &claim, now).await, Removal::Held(_)), "{claim:?}");
        }
    }
    assert_eq!(harness.renew_as("p", &holder, end).await, renewed(300, true, at(0)));
    let now = end.plus_millis(1_000);
    assert_eq!(harness.renew_as("p", &holder, now).await, renewed(300, false, at(0)));
    assert_eq!(harness.remove("p", &holder, now).await, Removal::Removed { was_live: true });
}

pub async fn a_name_stays_locked_for_as_long_as_it_was_held(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for name in ["short", "p", "revived", "renewed"] {
        harness.register(&mine(name, 1), at(0)).await;
    }
    let short = harness.lease_end("short", at(0)).await;
    for name in ["p", "revived", "renewed"] {
        harness.register(&mine(name, 2), at(290)).await;
    }
    let end = harness.lease_end("p", at(290)).await;
    let lock_end = end.plus_millis(end.millis_since(at(0)));
    // The lock of a name that was held for one lease outlasts the lease by the duration of the
    // lease.
    let short_end = short.plus_millis(short.millis_since(at(0)));
    harness.assert_locked("short", short_end.minus_millis(1)).await;
    harness.register(&peer("short").with_source(OTHER_SOURCE), short_end).await;
    let last = lock_end.minus_millis(1);
    harness.assert_locked("p", last).await;
    assert_eq!(harness.put(&mine("p", 2), last).await, PutResult::Stale { seq: 2 });
    let holder = claim_with(token(MINE), HOLDER_SOURCE);
    let revival = harness.renew_as("revived", &holder, last).await;
    assert_eq!(revival, renewed(300, true, at(290)));
    assert_eq!(harness.record("revived", last).await.as_deref(), Some("header.revived-1-2.signature"));
    assert_eq!(harness.renew_as("renewed", &holder, lock_end).await, Renewal::Unknown);
    assert_eq!(harness.remove("renewed", &holder, lock_end).await, Removal::Unknown);
    harness.register(&peer("p").with_source(OTHER_SOURCE), lock_end).await;
    assert_eq!(harness.record("p", lock_end).await, None, "the new holder did not sign");
}

pub async fn a_name_stays_locked_for_at_most_30_days(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 1).with_ttl(3_600), at(0)).await;
    let holder = claim_with(token(MINE), HOLDER_SOURCE);
    let (mut now, mut held) = (at(3_600), 3_600);
    while held < 40 * DAY {
        let end = harness.renew_as("p", &holder, now).await;
        assert!(matches!(end, Renewal::Renewed { .. }), "{held}: {end:?}");
        let wait = held.min(29 * DAY);
        (now, held) = (now.plus_millis(wait * 1_000), held + wait);
    }
    harness.renew_as("p", &holder, now).await;
    let end = harness.lease_end("p", now).await;
    let lock_end = end.plus_millis(30 * DAY * 1_000);
    harness.assert_locked("p", lock_end.minus_millis(1)).await;
    harness.register(&peer("p"), lock_end).await;
}

pub async fn a_rotation_moves_the_lock_to_the_new_key(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&mine("p", 5), at(0)).await;
    let by_another = replacing(3, peer("p").signed_by(OTHER, 6));
    assert_eq!(harness.put(&by_another, at(1)).await, LOCKED, "a key that holds no name replaces none");
    let rotation = replacing(MINE, peer("p").signed_by(OTHER, 6));
    let stale = replacing(MINE, peer("p").signed_by(OTHER, 5));
    assert_eq!(harness.put(&stale, at(1)).await, PutResult::Stale { seq: 5 });
    harness.register(&rotation, at(1)).await;
    assert_eq!(harness.put(&mine("p", 9), at(2)).await, PutResult::Locked { key: key_of(OTHER) });
    assert_eq!(harness.put(&rotation, at(2)).await, PutResult::Stale { seq: 6 });
    harness.register(&peer("p").signed_by(OTHER, 7), at(2)).await;
    let end = harness.lease_end("p", at(2)).await;
    let lock_end = end.plus_millis(end.millis_since(at(0)));
    let last = harness.put(&peer("p"), lock_end.minus_millis(1)).await;
    assert_eq!(last, PutResult::Locked { key: key_of(OTHER) }, "the name counts as held since its first key");
}

pub async fn a_deregistered_name_stays_locked_for_ten_minutes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let holder = claim_with(token(MINE), HOLDER_SOURCE);
    for name in ["p", "again", "free"] {
        harness.register(&mine(name, 5), at(0)).await;
        assert_eq!(harness.remove(name, &holder, at(10)).await, Removal::Removed { was_live: true });
    }
    let end = at(10 + TOMBSTONE);
    for now in [at(11), end.minus_millis(1)] {
        harness.assert_locked("p", now).await;
        assert_eq!(harness.put(&mine("p", 5), now).await, PutResult::Stale { seq: 5 });
    }
    harness.register(&mine("again", 6), at(12)).await;
    assert_eq!(harness.live(at(12)).await, ["again"]);
    let lease_end = harness.lease_end("again", at(12)).await;
    let lock_end = lease_end.plus_millis(lease_end.millis_since(at(12)));
    harness.assert_locked("again", lock_end.minus_millis(1)).await;
    harness.register(&peer("again"), lock_end).await;
    harness.register(&peer("free").with_source(OTHER_SOURCE), end).await;
    harness.register(&mine("p", 5), end).await;
}

pub async fn a_tombstone_is_neither_renewed_nor_deregistered_nor_counted(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let holder = claim_with(token(MINE), HOLDER_SOURCE);
    for name in ["live", "dormant"] {
        harness.register(&mine(name, 5).with_archetypes(&["a"]), at(0)).await;
    }
    assert_eq!(harness.remove("live", &holder, at(10)).await, Removal::Removed { was_live: true });
    let end = harness.lease_end("dormant", at(10)).await;
    assert_eq!(harness.remove("dormant", &holder, end).await, Removal::Removed { was_live: false });
    for name in ["live", "dormant"] {
        assert_eq!(harness.renew_as(name, &holder, end).await, Renewal::Unknown);
        assert_eq!(harness.remove(name, &holder, end).await, Removal::Unknown);
    }
    assert_eq!(harness.live(end).await, [""; 0]);
    if harness.guarantees.exact_census {
        let census = harness.census(1, end).await;
        assert_eq!((census.live, census.dormant), (0, 0));
    }
}

pub async fn ignored_signatures_lock_no_name(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let ignored = |put: PutRequest| PutRequest { signing: Signing::Ignored, ..put };
    harness.register(&mine("p", 1), at(0)).await;
    let stranger = ignored(peer("p").with_source(OTHER_SOURCE));
    assert!(matches!(harness.put(&stranger, at(1)).await, PutResult::Held(_)), "the token still holds");
    harness.register(&ignored(peer("p").with_token(token(MINE))), at(1)).await;
    assert_eq!(harness.record("p", at(1)).await, None);
    harness.register(&ignored(peer("p")), at(2)).await;
}

pub async fn locks_and_records_survive_a_restart(subject: &dyn Subject) {
    let mut harness = Harness::open(subject).await;
    if harness.guarantees.restart == Restart::Empty {
        return;
    }
    let holder = claim_with(token(MINE), HOLDER_SOURCE);
    let long = "x".repeat(3_000);
    let large = mine("large", 5).with_metadata(&format!("{{\"m\":\"{long}\"}}"));
    for put in [mine("live", 5), large, mine("dormant", 5).with_ttl(30), mine("left", 5)] {
        harness.register(&put, at(0)).await;
    }
    harness.remove("left", &holder, at(20)).await;
    harness.sweep(at(45)).await;
    harness.store.close().await.expect("close does not fail");
    harness.store = subject.open(&Limits::default(), at(46)).await;
    for name in ["live", "large", "dormant", "left"] {
        harness.assert_locked(name, at(46)).await;
        assert_eq!(harness.put(&mine(name, 5), at(46)).await, PutResult::Stale { seq: 5 }, "{name}");
    }
    for name in ["live", "large"] {
        let record = format!("header.{name}-1-5.signature");
        assert_eq!(harness.record(name, at(46)).await, Some(record));
    }
    assert_eq!(harness.renew_as("left", &holder, at(46)).await, Renewal::Unknown);
    let revival = harness.renew_as("dormant", &holder, at(46)).await;
    assert!(matches!(revival, Renewal::Renewed { .. }), "{revival:?}");
    harness.register(&mine("left", 6), at(47)).await;
    harness.register(&mine("live", 6), at(47)).await;
}

pub async fn one_of_several_keys_gets_a_name(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..8 {
        let name = format!("p{round}");
        let puts: Vec<_> = (1..=8).map(|key| peer(&name).signed_by(key, 1)).collect();
        let results = put_concurrently(&harness, &puts, round).await;
        let winners: Vec<_> = (1..=8_u8)
            .zip(&results)
            .filter(|(_, result)| matches!(result, PutResult::Stored { .. }))
            .map(|(key, _)| key)
            .collect();
        let [winner] = winners[..] else { panic!("{name}: {results:?}") };
        let locked = PutResult::Locked { key: key_of(winner) };
        assert_eq!(results.iter().filter(|result| **result == locked).count(), 7, "{results:?}");
        let record = harness.record(&name, at(round)).await;
        assert_eq!(record, Some(format!("header.{name}-{winner}-1.signature")));
    }
}

pub async fn concurrent_records_leave_the_highest_number(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for round in 0..8 {
        let name = format!("p{round}");
        let puts: Vec<_> = (1..=8).map(|seq| mine(&name, seq)).collect();
        let results = put_concurrently(&harness, &puts, round).await;
        assert!(matches!(results[7], PutResult::Stored { .. }), "{results:?}");
        assert_eq!(harness.record(&name, at(round)).await, Some(format!("header.{name}-1-8.signature")));
    }
}
