//! `GET /discover`

use serde_json::json;

use crate::client::{Client, encoded, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_peer_matches_if_it_has_any_of_the_archetypes(target: &Target) {
    let client = Client::first(target);
    let (a, b) = (unique("a"), unique("b"));
    let mut ids = [
        client.register_many(2, &[&a]).await,
        client.register_many(2, &[&b]).await,
        client.register_many(2, &[&a, &b]).await,
    ]
    .concat();
    ids.sort();
    client.register_many(1, &[&unique("other")]).await;
    let response =
        client.get(&format!("/discover?archetype={a}&archetype={b}&archetype={}", unique("c"))).await;
    assert_eq!((response.ids(), &response.ok()["total"]), (ids, &json!(6)));
}

pub async fn an_empty_archetype_is_ignored(target: &Target) {
    let client = Client::first(target);
    let a = unique("a");
    let ids = client.register_many(1, &[&a]).await;
    assert!(client.get("/discover?archetype=").await.ids().contains(&ids[0]));
    assert_eq!(client.get(&format!("/discover?archetype=&archetype={a}")).await.ids(), ids);
}

pub async fn an_unknown_archetype_returns_an_empty_list(target: &Target) {
    let client = Client::first(target);
    client.register_many(1, &[&unique("known")]).await;
    let response = client.get(&format!("/discover?archetype={}", unique("unknown"))).await;
    let fields = response.ok();
    assert_eq!((&fields["peers"], &fields["count"], &fields["total"]), (&json!([]), &json!(0), &json!(0)));
    assert_eq!(response.keys(), ["count", "peers", "timestamp", "total"]);
}

pub async fn archetypes_of_any_script_are_matched_exactly(target: &Target) {
    let client = Client::first(target);
    for name in ["ética", "研究", "🐹", "two words", "a+b", "a&b=c", "100%", "\"", "مرحبا"] {
        // `name` may contain characters without case. "lower" guarantees that the archetype has
        // letters whose case can be changed.
        let archetype = unique(&format!("{name} lower"));
        let ids = client.register_many(1, &[&archetype]).await;
        assert_eq!(client.peers_with(&archetype).await, ids, "{archetype}");
        assert_eq!(client.peers_with(&archetype.to_uppercase()).await.len(), 0, "{archetype}");
        let plus = encoded(&archetype).replace("%20", "+");
        assert_eq!(client.get(&format!("/discover?archetype={plus}")).await.ids(), ids);
    }
}

pub async fn the_limit_bounds_the_list_but_not_the_total(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(5, &[&a]).await;
    for limit in [1, 3, 5, 1_000] {
        let response = client.get(&format!("/discover?archetype={a}&limit={limit}")).await;
        let fields = response.ok();
        assert_eq!(fields["count"], response.ids().len());
        assert_eq!(response.ids().len(), limit.min(5));
        assert!(response.ids().iter().all(|id| ids.contains(id)));
        if fields.get("total_is_estimate").is_none() {
            assert_eq!(fields["total"], 5);
        }
    }
}

pub async fn an_excluded_peer_is_neither_listed_nor_counted(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(3, &[&a]).await;
    let response = client.get(&format!("/discover?archetype={a}&exclude={}", ids[1])).await;
    assert_eq!(response.ids(), [&ids[0], &ids[2]].map(Clone::clone));
    assert_eq!(response.ok()["total"], 2);
}

pub async fn the_full_view_adds_the_expiry_and_the_age_of_the_registration(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    client.register(&json!({"peer_id": unique("peer"), "archetypes": [a], "ttl_seconds": 600})).await;
    let peer = &client.get(&format!("/discover?archetype={a}&view=full")).await.ok()["peers"][0];
    let expires_in = peer["expires_in_seconds"].as_u64().expect("whole seconds");
    assert!((540..=800).contains(&expires_in), "{expires_in}");
    assert!(peer["registered_seconds_ago"].as_u64().expect("whole seconds") < 60);
    let legacy = &client.get(&format!("/discover?archetype={a}&view=legacy")).await.ok()["peers"][0];
    assert_eq!(legacy.as_object().expect("an object").len(), 6);
}

pub async fn the_deprecated_name_of_the_legacy_view_is_accepted(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let id = &client.register_many(1, &[&a]).await[0];
    let default = &client.get(&format!("/discover?archetype={a}")).await.ok()["peers"];
    for view in ["legacy", "seed"] {
        let path = format!("/discover?archetype={a}&view={view}");
        assert_eq!(client.get(&path).await.ok()["peers"], *default, "{view}");
    }
    for view in ["legacy", "seed"] {
        let body = json!({"peer_id": id, "discover": {"archetype": a, "view": view}}).to_string();
        let inline = client.post("/heartbeat", &body).await.ok();
        assert_eq!(inline["peers"][0].as_object().expect("an object").len(), 6, "{view}");
    }
}

pub async fn unknown_parameters_are_ignored(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(1, &[&a]).await;
    for unknown in ["reputation=true", "reputation=true&reputation=false", "Limit=0", "x", "=", "&&"] {
        assert_eq!(client.get(&format!("/discover?archetype={a}&{unknown}")).await.ids(), ids, "{unknown}");
    }
}

pub async fn each_request_draws_its_own_sample(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    client.register_many(20, &[&a]).await;
    let query = format!("/discover?archetype={a}&limit=10");
    let first = client.get(&query).await.ids();
    let mut others = 0;
    // A uniform sample of 10 of 20 peers equals a given one with a probability of 1 in 184,756.
    // That nine samples all equal the first one is practically impossible.
    for _ in 0..9 {
        others += usize::from(client.get(&query).await.ids() != first);
    }
    assert!(others > 0, "every sample is {first:?}");
}

/// Half of a diverse sample should come from different networks, but all peers of this case are in
/// one network. That half must then be filled from the same network, so that the sample is not
/// shorter.
pub async fn a_diverse_sample_is_as_long_as_a_uniform_one(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(7, &[&a]).await;
    for limit in [1, 4, 6, 7, 1_000] {
        let query = format!("/discover?archetype={a}&order=diverse&limit={limit}&exclude={}", ids[0]);
        let response = client.get(&query).await;
        let mut listed = response.ids();
        listed.dedup();
        assert_eq!(listed.len(), limit.min(6), "no peer is listed twice");
        assert!(listed.iter().all(|id| ids[1..].contains(id)));
        assert_eq!(response.keys(), ["count", "peers", "timestamp", "total"]);
        assert_eq!(response.ok()["total"], 6);
    }
    let body = json!({"peer_id": ids[0], "discover": {"archetype": a, "order": "diverse"}}).to_string();
    assert_eq!(client.post("/heartbeat", &body).await.ids(), ids);
    let filled = format!("/discover?archetype={a}&order=diverse&fill=any&limit=1000");
    let listed = client.get(&filled).await.ids();
    assert!(ids.iter().all(|id| listed.contains(id)));
}

pub async fn a_diverse_sample_has_no_cursor(target: &Target) {
    let client = Client::first(target);
    let response = client.get("/discover?order=diverse&cursor=x").await;
    let sentence = response.refused(400, "invalid_parameter", Some("cursor"));
    assert!(sentence.contains("order=all"), "{sentence}");
}

pub async fn fill_adds_peers_without_a_rare_archetype(target: &Target) {
    let (client, rare) = (Client::first(target), unique("rare"));
    let ids = client.register_many(2, &[&rare]).await;
    client.register_many(9, &[&unique("common")]).await;
    for requested in [&ids[0], &unique("unknown")] {
        let path = format!("/discover?archetype={rare}&limit=6&fill=any&exclude={requested}");
        let response = client.get(&path).await;
        let mut listed = response.ids();
        listed.dedup();
        assert_eq!(listed.len(), 6, "no peer is listed twice");
        let fields = response.ok();
        let peers = fields["peers"].as_array().expect("peers");
        let matching: Vec<_> = ids.iter().filter(|id| *id != requested).collect();
        assert_eq!((&fields["total"], &fields["count"]), (&json!(matching.len()), &json!(6)));
        assert!(matching.iter().all(|id| listed.contains(id)) && !listed.contains(requested));
        assert!(
            peers.iter().all(|peer| peer.as_object().expect("a peer").len() == 6),
            "peers added by fill have the six keys of the legacy view"
        );
    }
    assert_eq!(client.get(&format!("/discover?archetype={rare}&limit=2&fill=any")).await.ids(), ids);
    assert_eq!(client.get(&format!("/discover?archetype={rare}&limit=6")).await.ids(), ids);
}

pub async fn fill_is_rejected_for_an_enumeration(target: &Target) {
    let client = Client::first(target);
    for query in ["fill=any&order=all", "archetype=a&order=all&fill=any"] {
        let response = client.get(&format!("/discover?{query}")).await;
        let sentence = response.refused(400, "invalid_parameter", Some("fill"));
        assert!(sentence.contains("order=sample"), "{sentence}");
    }
    client.get("/discover?fill=any").await.ok();
}
