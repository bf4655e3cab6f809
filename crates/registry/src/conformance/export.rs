//! Cases about moving peers from one store to another. They need two stores, so they are not a part
//! of the suite. The crate of a store calls them in its own tests.

use aurora_discovery_protocol::Timestamp;

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, OTHER_SOURCE, PutRequestBuilder as _, at, claim_from, claim_with, peer, renewed,
    token,
};
use crate::{Import, PeerState, PutResult, Removal, Renewal};

impl Harness {
    /// All peers of the store, sorted by their names.
    async fn export(&self, now: Timestamp) -> Vec<PeerState> {
        let (mut peers, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.export(after.as_ref(), now).await.expect("export does not fail");
            assert_eq!(page.skipped, 0);
            peers.extend(page.peers);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        peers.sort_by(|one, two| one.registration.peer_id.cmp(&two.registration.peer_id));
        peers
    }

    async fn import(&self, peer: &PeerState, now: Timestamp) -> Import {
        self.store.import(peer.clone(), now).await.expect("import does not fail")
    }
}

/// A peer in each state that a store distinguishes.
async fn register_each_kind(harness: &Harness) {
    let plain = peer("plain")
        .with_archetypes(&["mine", "ours"])
        .with_metadata(r#"{ "n": 123456789012345678901234567890 }"#);
    harness.register(&plain.with_new_token(token(2)), at(0)).await;
    let page = peer("page").with_page("https://page.example").with_new_token(token(3));
    harness.register(&page.with_token_only(), at(0)).await;
    harness.register(&peer("dormant").with_ttl(60).with_new_token(token(4)), at(0)).await;
    for name in ["signed", "left"] {
        harness.register(&peer(name).signed_by(1, 7), at(0)).await;
    }
    let removal = harness.remove("left", &claim_with(token(1), OTHER_SOURCE), at(50)).await;
    assert_eq!(removal, Removal::Removed { was_live: true });
    harness.renew_as("plain", &claim_with(token(2), OTHER_SOURCE), at(90)).await;
}

/// Everything that a store keeps of a peer moves to another store. The other store then decides
/// about the peer in the same way.
pub async fn peers_move_to_another_store_with_all_that_is_kept_of_them(from: &dyn Subject, to: &dyn Subject) {
    let now = at(100);
    let (source, target) = (Harness::open(from).await, Harness::open(to).await);
    register_each_kind(&source).await;
    let exported = source.export(now).await;
    let names: Vec<_> = exported.iter().map(|peer| peer.registration.peer_id.as_str()).collect();
    assert_eq!(names, ["dormant", "left", "page", "plain", "signed"]);
    for peer in &exported {
        let moved = PeerState::from_json(&peer.to_json()).expect("its own line");
        assert_eq!(target.import(&moved, now).await, Import::Stored);
    }
    assert_eq!(target.export(now).await, exported);

    assert_eq!(target.live(now).await, ["page", "plain", "signed"]);
    assert_eq!(target.find("plain", now).await, source.find("plain", now).await);
    for (name, byte, seconds, revived) in [
        ("plain", 2, 300, false),
        ("page", 3, 300, false),
        ("dormant", 4, 60, true),
        ("signed", 1, 300, false),
    ] {
        let stranger = claim_with(token(9), OTHER_SOURCE);
        let refused = target.renew_as(name, &stranger, now).await;
        assert!(matches!(refused, Renewal::Held(_)), "{name}: {refused:?}");
        let holder = claim_with(token(byte), OTHER_SOURCE);
        assert_eq!(target.renew_as(name, &holder, now).await, renewed(seconds, revived, at(0)), "{name}");
    }
    let locked = target.put(&peer("signed"), now).await;
    assert!(matches!(locked, PutResult::Locked { .. }), "{locked:?}");
    assert_eq!(target.put(&peer("left").signed_by(1, 7), now).await, PutResult::Stale { seq: 7 });
    let held = target.put(&peer("page"), now).await;
    assert!(matches!(held, PutResult::Held(_)), "{held:?}");
}

/// A peer that the store knows is not replaced, so that an import can be repeated.
pub async fn an_import_replaces_no_known_peer(from: &dyn Subject, to: &dyn Subject) {
    let (source, target) = (Harness::open(from).await, Harness::open(to).await);
    register_each_kind(&source).await;
    target.register(&peer("plain").with_new_token(token(5)), at(99)).await;
    for peer in source.export(at(100)).await {
        let first = target.import(&peer, at(100)).await;
        assert_eq!(first == Import::Known, peer.registration.peer_id.as_str() == "plain");
        assert_eq!(target.import(&peer, at(100)).await, Import::Known);
    }
    let before = claim_with(token(2), OTHER_SOURCE);
    assert!(matches!(target.renew_as("plain", &before, at(101)).await, Renewal::Held(_)));
    assert_eq!(
        target.renew_as("plain", &claim_from(HOLDER_SOURCE), at(101)).await,
        renewed(300, false, at(99))
    );
}
