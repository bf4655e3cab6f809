//! Published values are returned unchanged.

use std::collections::BTreeSet;

use aurora_discovery_protocol::View;

use super::Subject;
use super::harness::{
    HOLDER_SOURCE, Harness, PutRequestBuilder as _, all_peers, at, claim_from, ids_of, peer, peers_with_any,
};
use crate::{Query, Removal, Renewal};

/// Ids that a store might mistake for its own keys, or that need escaping.
const ODD_IDS: [&str; 24] = [
    "!", "~", "\"", "\\", "'", "`", "#", "*", "%", "%00", "..", ".", "../p", "/", "a#b", "*#0", "p\\\"q",
    "{}", "[]", "null", "0", "-1", "$set", "~~~~",
];

pub async fn ids_with_special_characters_identify_distinct_peers(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let longest = "x".repeat(128);
    let ids: BTreeSet<_> = ODD_IDS.into_iter().chain([longest.as_str(), &longest[1..]]).collect();
    for id in &ids {
        harness.register(&peer(id).with_archetypes(&["a"]), at(0)).await;
    }
    let sorted: Vec<_> = ids.iter().map(ToString::to_string).collect();
    assert_eq!(harness.live(at(0)).await, sorted);
    assert_eq!(ids_of(&harness.pages(&peers_with_any(&["a"]), at(0)).await), sorted);
    for id in &ids {
        harness.heartbeat(id, at(1)).await;
        assert_eq!(
            harness.remove(id, &claim_from(HOLDER_SOURCE), at(1)).await,
            Removal::Removed { was_live: true },
            "{id}"
        );
        assert_eq!(harness.renew(id, at(1)).await, Renewal::Unknown, "{id}");
    }
    assert_eq!(harness.live(at(1)).await, [""; 0]);
}

pub async fn ids_are_case_sensitive(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    harness.register(&peer("Peer"), at(0)).await;
    harness.register(&peer("peer").with_source("192.0.2.1"), at(0)).await;
    assert_eq!(harness.live(at(0)).await, ["Peer", "peer"]);
    assert_eq!(
        harness.remove("Peer", &claim_from(HOLDER_SOURCE), at(1)).await,
        Removal::Removed { was_live: true }
    );
    assert_eq!(harness.live(at(1)).await, ["peer"]);
}

pub async fn archetypes_are_matched_exactly(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let longest = "é".repeat(64);
    let odd = [
        "pepino",
        "Pepino",
        "pepin",
        "ética",
        "研究",
        "🐹",
        "two words",
        "a#b",
        "*",
        "*#0",
        "\"",
        "\\",
        "%",
        "p0",
        "a,b",
        "مرحبا",
        &longest,
    ];
    for (n, archetype) in odd.iter().enumerate() {
        harness.register(&peer(&format!("p{n}")).with_archetypes(&[archetype]), at(0)).await;
    }
    for (n, archetype) in odd.iter().enumerate() {
        let listing = harness.sample(&peers_with_any(&[archetype]), at(0)).await;
        assert_eq!(listing.ids(), [format!("p{n}")], "{archetype}");
        assert_eq!(listing.peers[0].archetypes.as_slice()[0].as_str(), *archetype);
    }
}

pub async fn archetypes_are_compared_in_normal_form_and_listed_as_written(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let (composed, decomposed) = ("\u{e9}tica", "e\u{301}tica");
    harness.register(&peer("composed").with_archetypes(&[composed]), at(0)).await;
    harness.register(&peer("decomposed").with_archetypes(&[decomposed]), at(0)).await;
    for archetype in [composed, decomposed] {
        let listing = harness.sample(&peers_with_any(&[archetype]), at(1)).await;
        assert_eq!((listing.ids().len(), listing.total.value()), (2, 2));
        assert_eq!(ids_of(&harness.pages(&peers_with_any(&[archetype]), at(1)).await).len(), 2);
    }
    let written = harness.find("decomposed", at(1)).await.expect("the peer is listed").archetypes;
    assert_eq!(written.as_slice()[0].as_str(), decomposed);
}

pub async fn a_peer_can_have_32_archetypes(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let names: Vec<_> = (0..32).map(|n| format!("{n:032}")).collect();
    let put = peer("p").with_archetypes(&names);
    harness.register(&put, at(0)).await;
    for name in &names {
        let listing = harness.sample(&peers_with_any(&[name]), at(0)).await;
        assert_eq!(
            listing.peers[0].archetypes, put.registration.archetypes,
            "the order of the archetypes is kept"
        );
    }
    harness.register(&peer("p").with_archetypes(&names[..1]), at(1)).await;
    assert_eq!(harness.sample(&peers_with_any(&[&names[31]]), at(1)).await.ids(), [""; 0]);
}

pub async fn metadata_is_returned_byte_for_byte(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    let largest = format!("{{\"x\":\"{}\"}}", "é".repeat(2_044));
    assert_eq!(largest.len(), 4_096);
    let written = [
        r#"{"n": 123456789012345678901234567890.000, "e":1E+300 , "z":-0.0}"#,
        r#"{ "b":1, "a":[ {}, null,true ] }"#,
        r#"{"\u0041\ud83d\udc39":"\/\t\u0000 é \" \\"}"#,
        r#"{"last_seen":"1970-01-01T00:00:00","":{"peers":[]}}"#,
        &largest,
    ];
    for (n, metadata) in written.iter().enumerate() {
        harness.register(&peer(&format!("p{n}")).with_metadata(metadata), at(0)).await;
    }
    for (n, metadata) in written.iter().enumerate() {
        let listed = harness.find(&format!("p{n}"), at(0)).await.expect("the peer is listed");
        assert_eq!(listed.metadata.as_str(), *metadata);
    }
}

pub async fn every_kind_of_address_is_returned_unchanged(subject: &dyn Subject) {
    let harness = Harness::open(subject).await;
    for (address, port) in
        [("192.168.1.100", 0), ("2001:db8::1", 65_535), ("peer.example.org", 443), ("_p2p.Example.", 1)]
    {
        harness.register(&peer("p").with_address(address, port), at(0)).await;
        let listed = harness.find("p", at(0)).await.expect("the peer is listed");
        assert_eq!((listed.address.to_string().as_str(), listed.port), (address, port));
    }
}

pub async fn the_legacy_view_has_exactly_six_keys(subject: &dyn Subject) {
    let legacy = ["address", "archetypes", "last_seen", "metadata", "peer_id", "port"];
    assert_eq!(listed_keys(subject, View::Legacy).await, [legacy, legacy].map(BTreeSet::from).map(owned));
}

pub async fn the_contact_view_has_three_keys(subject: &dyn Subject) {
    let contact = ["peer_id", "address", "port"];
    assert_eq!(listed_keys(subject, View::Contact).await, [contact, contact].map(BTreeSet::from).map(owned));
}

pub async fn the_full_view_adds_two_keys(subject: &dyn Subject) {
    for keys in listed_keys(subject, View::Full).await {
        assert!(keys.contains("expires_in_seconds") && keys.contains("registered_seconds_ago"), "{keys:?}");
        assert_eq!(keys.len(), 8);
    }
}

/// The JSON keys of a peer in a sample and in an enumeration.
async fn listed_keys(subject: &dyn Subject, view: View) -> [BTreeSet<String>; 2] {
    let harness = Harness::open(subject).await;
    harness.register(&peer("p").with_archetypes(&["a"]).with_metadata(r#"{"extra":1}"#), at(0)).await;
    let query = Query { view, ..all_peers() };
    let sampled = harness.sample(&query, at(1)).await.json;
    let paged = harness.pages(&query, at(1)).await.remove(0).json;
    [sampled, paged].map(|json| {
        let mut peers: Vec<serde_json::Map<_, _>> = serde_json::from_slice(&json).expect("a list of objects");
        peers.remove(0).into_iter().map(|(key, _)| key).collect()
    })
}

fn owned(keys: BTreeSet<&str>) -> BTreeSet<String> {
    keys.into_iter().map(str::to_owned).collect()
}
