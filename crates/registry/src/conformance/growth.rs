//! Growth: a member may always keep or reduce what it has. The bounds apply to what it adds, as
//! they apply to a newcomer.

use super::Subject;
use super::harness::{
    Harness, OTHER_SOURCE, PutRequestBuilder as _, TTL_AND_A_THIRD, at, claim_with, peer, renewed, token,
};
use crate::{ExceededLimit, Limits, PutRequest, PutResult};

/// A registration with `bytes` of metadata.
fn sized(name: &str, bytes: usize) -> PutRequest {
    peer(name).with_metadata(&format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)))
}

pub async fn a_member_that_adds_bytes_is_a_newcomer(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_bytes: 64 << 10, ..Limits::default() }).await;
    if !harness.guarantees.bounds.bytes {
        return;
    }
    harness.register(&sized("small", 10), at(0)).await;
    let mut stored = 0;
    while harness.put(&sized(&format!("p{stored}"), 4_000), at(0)).await
        != PutResult::Full(ExceededLimit::Bytes)
    {
        stored += 1;
        assert!(stored < 17, "sixteen of these fill 64 KiB");
    }
    let before = harness.find("small", at(1)).await;
    let grown = sized("small", 4_000);
    assert_eq!(harness.put(&grown, at(1)).await, PutResult::Full(ExceededLimit::Bytes));
    assert_eq!(harness.find("small", at(1)).await, before, "a refused registration changes nothing");
    harness.register(&sized("small", 10), at(2)).await;
    for name in ["p0", "p1"] {
        harness.register(&sized(name, 4_000), at(2)).await;
        harness.register(&sized(name, 10), at(2)).await;
    }
    harness.register(&grown, at(3)).await;
}

pub async fn a_member_that_adds_archetypes_is_a_newcomer(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_archetypes: 2, ..Limits::default() }).await;
    if !harness.guarantees.bounds.archetypes {
        return;
    }
    harness.register(&peer("p0").with_archetypes(&["a"]), at(0)).await;
    harness.register(&peer("p1").with_archetypes(&["b"]), at(0)).await;
    let before = harness.find("p0", at(1)).await;
    let grown = peer("p0").with_archetypes(&["a", "c"]);
    assert_eq!(harness.put(&grown, at(1)).await, PutResult::Full(ExceededLimit::Archetypes));
    assert_eq!(harness.find("p0", at(1)).await, before, "a refused registration changes nothing");
    harness.register(&peer("p0").with_archetypes(&["a", "b"]), at(1)).await;
    harness.register(&peer("p1"), at(2)).await;
    harness.register(&peer("p0").with_archetypes(&["a"]), at(2)).await;
    harness.register(&grown, at(2)).await;
}

/// A revival is never refused because of its archetypes, so the live peers here have two archetypes
/// although the limit is one. Registrations that add a third are refused. Those that use the two
/// are accepted.
pub async fn a_registration_that_adds_no_archetype_is_never_refused_for_archetypes(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_archetypes: 1, ..Limits::default() }).await;
    if !harness.guarantees.bounds.archetypes {
        return;
    }
    let now = at(TTL_AND_A_THIRD);
    harness.register(&peer("revived").with_archetypes(&["a"]), at(0)).await;
    harness.register(&peer("member").with_archetypes(&["b"]), now).await;
    assert_eq!(harness.renew("revived", now).await, renewed(300, true, at(0)));
    let full = harness.put(&peer("newcomer").with_archetypes(&["c"]), now).await;
    assert_eq!(full, PutResult::Full(ExceededLimit::Archetypes));
    let known = [vec![], vec!["a"], vec!["b"], vec!["a", "b"]];
    for (n, archetypes) in known.iter().enumerate() {
        harness.register(&peer(&format!("newcomer{n}")).with_archetypes(archetypes), now).await;
    }
    for archetypes in &known {
        harness.register(&peer("member").with_archetypes(archetypes), now).await;
    }
}

pub async fn a_member_from_another_source_is_a_newcomer_there(subject: &dyn Subject) {
    let harness = Harness::within(subject, &Limits { max_peers_per_source: 1, ..Limits::default() }).await;
    if !harness.guarantees.bounds.sources {
        return;
    }
    harness.register(&peer("local").with_source(OTHER_SOURCE), at(0)).await;
    harness.register(&peer("roaming").with_new_token(token(1)), at(0)).await;
    let before = harness.find("roaming", at(1)).await;
    let moved = peer("roaming").with_source(OTHER_SOURCE).with_token(token(1));
    assert_eq!(harness.put(&moved, at(1)).await, PutResult::Full(ExceededLimit::Source));
    assert_eq!(harness.find("roaming", at(1)).await, before, "a refused registration changes nothing");
    let renewal = harness.renew_as("roaming", &claim_with(token(1), OTHER_SOURCE), at(200)).await;
    assert_eq!(renewal, renewed(300, false, at(0)), "a proven heartbeat is never refused for a bound");
    harness.register(&moved.with_source("192.0.2.1"), at(201)).await;
}
