//! `GET /discover`

use serde_json::json;

use crate::caller::{Caller, encoded, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn any_of_several_archetypes_matches(target: &Target) {
    let caller = Caller::home(target);
    let (a, b) = (unique("a"), unique("b"));
    let mut ids =
        [caller.fill(2, &[&a]).await, caller.fill(2, &[&b]).await, caller.fill(2, &[&a, &b]).await].concat();
    ids.sort();
    caller.fill(1, &[&unique("other")]).await;
    let response =
        caller.get(&format!("/discover?archetype={a}&archetype={b}&archetype={}", unique("c"))).await;
    assert_eq!((response.ids(), &response.ok()["total"]), (ids, &json!(6)));
}

pub async fn an_empty_archetype_is_no_filter(target: &Target) {
    let caller = Caller::home(target);
    let a = unique("a");
    let ids = caller.fill(1, &[&a]).await;
    assert!(caller.get("/discover?archetype=").await.ids().contains(&ids[0]));
    assert_eq!(caller.get(&format!("/discover?archetype=&archetype={a}")).await.ids(), ids);
}

pub async fn an_unknown_archetype_gives_an_empty_list(target: &Target) {
    let caller = Caller::home(target);
    caller.fill(1, &[&unique("known")]).await;
    let response = caller.get(&format!("/discover?archetype={}", unique("unknown"))).await;
    let answer = response.ok();
    assert_eq!((&answer["peers"], &answer["count"], &answer["total"]), (&json!([]), &json!(0), &json!(0)));
    assert_eq!(response.keys(), ["count", "peers", "timestamp", "total"]);
}

pub async fn archetypes_of_any_script_are_matched_exactly(target: &Target) {
    let caller = Caller::home(target);
    for name in ["ética", "研究", "🐹", "two words", "a+b", "a&b=c", "100%", "\"", "مرحبا"] {
        // `name` may contain characters without case. "lower" guarantees that the archetype has
        // letters whose case can be changed.
        let archetype = unique(&format!("{name} lower"));
        let ids = caller.fill(1, &[&archetype]).await;
        assert_eq!(caller.carriers(&archetype).await, ids, "{archetype}");
        assert_eq!(caller.carriers(&archetype.to_uppercase()).await.len(), 0, "{archetype}");
        let plus = encoded(&archetype).replace("%20", "+");
        assert_eq!(caller.get(&format!("/discover?archetype={plus}")).await.ids(), ids);
    }
}

pub async fn a_limit_cuts_the_list_and_the_total_counts_all(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(5, &[&a]).await;
    for limit in [1, 3, 5, 1_000] {
        let response = caller.get(&format!("/discover?archetype={a}&limit={limit}")).await;
        let answer = response.ok();
        assert_eq!(answer["count"], response.ids().len());
        assert_eq!(response.ids().len(), limit.min(5));
        assert!(response.ids().iter().all(|id| ids.contains(id)));
        if answer.get("total_is_estimate").is_none() {
            assert_eq!(answer["total"], 5);
        }
    }
}

pub async fn the_excluded_peer_is_neither_listed_nor_counted(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(3, &[&a]).await;
    let response = caller.get(&format!("/discover?archetype={a}&exclude={}", ids[1])).await;
    assert_eq!(response.ids(), [&ids[0], &ids[2]].map(Clone::clone));
    assert_eq!(response.ok()["total"], 2);
}

pub async fn the_full_view_adds_when_it_expires_and_registered(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    caller.register(&json!({"peer_id": unique("peer"), "archetypes": [a], "ttl_seconds": 600})).await;
    let peer = &caller.get(&format!("/discover?archetype={a}&view=full")).await.ok()["peers"][0];
    let expires_in = peer["expires_in_seconds"].as_u64().expect("whole seconds");
    assert!((540..=800).contains(&expires_in), "{expires_in}");
    assert!(peer["registered_seconds_ago"].as_u64().expect("whole seconds") < 60);
    let legacy = &caller.get(&format!("/discover?archetype={a}&view=legacy")).await.ok()["peers"][0];
    assert_eq!(legacy.as_object().expect("an object").len(), 6);
}

pub async fn the_deprecated_name_of_the_legacy_view_is_accepted(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let id = &caller.fill(1, &[&a]).await[0];
    let default = &caller.get(&format!("/discover?archetype={a}")).await.ok()["peers"];
    for view in ["legacy", "seed"] {
        let path = format!("/discover?archetype={a}&view={view}");
        assert_eq!(caller.get(&path).await.ok()["peers"], *default, "{view}");
    }
    for view in ["legacy", "seed"] {
        let body = json!({"peer_id": id, "discover": {"archetype": a, "view": view}}).to_string();
        let inline = caller.post("/heartbeat", &body).await.ok();
        assert_eq!(inline["peers"][0].as_object().expect("an object").len(), 6, "{view}");
    }
}

pub async fn unknown_parameters_are_ignored(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(1, &[&a]).await;
    for unknown in ["reputation=true", "reputation=true&reputation=false", "Limit=0", "x", "=", "&&"] {
        assert_eq!(caller.get(&format!("/discover?archetype={a}&{unknown}")).await.ids(), ids, "{unknown}");
    }
}

pub async fn samples_differ_from_call_to_call(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    caller.fill(20, &[&a]).await;
    let query = format!("/discover?archetype={a}&limit=10");
    let first = caller.get(&query).await.ids();
    let mut others = 0;
    // Ten fair samples are equal with a probability of one in 184,756 to the ninth power.
    for _ in 0..9 {
        others += usize::from(caller.get(&query).await.ids() != first);
    }
    assert!(others > 0, "every sample is {first:?}");
}

pub async fn a_rare_archetype_is_filled_up_with_others(target: &Target) {
    let (caller, rare) = (Caller::home(target), unique("rare"));
    let ids = caller.fill(2, &[&rare]).await;
    caller.fill(9, &[&unique("common")]).await;
    for asked in [&ids[0], &unique("nobody")] {
        let path = format!("/discover?archetype={rare}&limit=6&fill=any&exclude={asked}");
        let response = caller.get(&path).await;
        let mut listed = response.ids();
        listed.dedup();
        assert_eq!(listed.len(), 6, "nobody is listed twice");
        let answer = response.ok();
        let peers = answer["peers"].as_array().expect("peers");
        let matching: Vec<_> = ids.iter().filter(|id| *id != asked).collect();
        assert_eq!((&answer["total"], &answer["count"]), (&json!(matching.len()), &json!(6)));
        assert!(matching.iter().all(|id| listed.contains(id)) && !listed.contains(asked));
        assert!(peers.iter().all(|peer| peer.as_object().expect("a peer").len() == 6), "six keys, no more");
    }
    assert_eq!(caller.get(&format!("/discover?archetype={rare}&limit=2&fill=any")).await.ids(), ids);
    assert_eq!(caller.get(&format!("/discover?archetype={rare}&limit=6")).await.ids(), ids);
}

pub async fn an_enumeration_is_not_filled_up(target: &Target) {
    let caller = Caller::home(target);
    for query in ["fill=any&order=all", "archetype=a&order=all&fill=any"] {
        let response = caller.get(&format!("/discover?{query}")).await;
        let sentence = response.refused(400, "invalid_parameter", Some("fill"));
        assert!(sentence.contains("order=sample"), "{sentence}");
    }
    caller.get("/discover?fill=any").await.ok();
}
