//! `POST /heartbeat`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::caller::{Caller, naive_time, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_heartbeat_is_answered_with_the_lease(target: &Target) {
    let caller = Caller::home(target);
    let id = &caller.fill(1, &[]).await[0];
    let response = caller.heartbeat(id).await;
    let keys =
        ["heartbeat_interval_seconds", "message", "peer_id", "timestamp", "ttl_expires", "ttl_seconds"];
    assert_eq!(response.keys(), keys);
    let answer = response.ok();
    let lease = naive_time(&answer["ttl_expires"]) - naive_time(&answer["timestamp"]);
    assert_eq!(Some(lease), answer["ttl_seconds"].as_i64());
}

pub async fn a_heartbeat_keeps_the_duration_that_was_granted(target: &Target) {
    let (caller, id) = (Caller::home(target), unique("peer"));
    caller.register(&json!({"peer_id": id, "ttl_seconds": 45})).await;
    let answer = caller.heartbeat(&id).await.ok();
    assert_eq!(answer["ttl_seconds"], 45);
    assert!((12..=15).contains(&interval(&answer)), "a fifth earlier than a third of the lease, at most");
}

pub async fn each_further_heartbeat_is_wanted_at_its_own_time_within_a_third_of_the_lease(target: &Target) {
    let caller = Caller::home(target);
    let id = &caller.fill(1, &[]).await[0];
    let mut wanted = BTreeSet::new();
    for _ in 0..40 {
        wanted.insert(interval(&caller.heartbeat(id).await.ok()));
    }
    assert!(wanted.iter().all(|seconds| (80..=100).contains(seconds)), "{wanted:?}");
    assert!(wanted.len() > 5, "spread: {wanted:?}");
}

/// The requested time until the next heartbeat.
pub(crate) fn interval(answer: &Value) -> u64 {
    answer["heartbeat_interval_seconds"].as_u64().expect("whole seconds")
}

pub async fn a_heartbeat_never_creates_a_peer(target: &Target) {
    let (caller, id) = (Caller::home(target), unique("nobody"));
    for _ in 0..2 {
        caller.heartbeat(&id).await.refused(404, "peer_not_registered", None);
    }
    assert!(!caller.get("/discover").await.ids().contains(&id));
}

pub async fn a_heartbeat_may_come_from_any_address(target: &Target) {
    let id = &Caller::home(target).fill(1, &[]).await[0];
    Caller::elsewhere(target).heartbeat(id).await.ok();
}

pub async fn heartbeats_for_many_are_each_answered_in_the_order_asked(target: &Target) {
    let caller = Caller::home(target);
    let ids = caller.fill(3, &[]).await;
    let nobody = unique("nobody");
    let response = many(&caller, &json!([ids[2], nobody, ids[0], ids[2], ids[1]])).await;
    assert_eq!(response.keys(), ["message", "renewed", "results", "timestamp"]);
    let answer = response.ok();
    assert_eq!((&answer["message"], &answer["renewed"]), (&json!("Heartbeats updated"), &json!(3)));
    let results = answer["results"].as_array().expect("results");
    let asked: Vec<_> = results.iter().map(|result| result["peer_id"].as_str().expect("an id")).collect();
    assert_eq!(asked, [&ids[2], &nobody, &ids[0], &ids[1]], "a repeated id is answered once");
    for (result, renewed) in results.iter().zip([true, false, true, true]) {
        let keys: Vec<_> = result.as_object().expect("an object").keys().collect();
        if renewed {
            assert_eq!(keys, ["heartbeat_interval_seconds", "peer_id", "ttl_expires", "ttl_seconds"]);
            let lease = naive_time(&result["ttl_expires"]) - naive_time(&answer["timestamp"]);
            assert_eq!(Some(lease), result["ttl_seconds"].as_i64());
        } else {
            assert_eq!(keys, ["code", "error", "peer_id"]);
            assert_eq!(result["code"], "peer_not_registered");
        }
    }
    assert!(!caller.get("/discover").await.ids().contains(&nobody), "a heartbeat never creates a peer");
}

pub async fn a_hundred_heartbeats_fit_one_call_and_one_more_does_not(target: &Target) {
    let caller = Caller::home(target);
    let mut ids = caller.fill(3, &[]).await;
    ids.extend((0..97).map(|_| unique("nobody")));
    let answer = many(&caller, &json!(ids)).await.ok();
    assert_eq!((&answer["renewed"], answer["results"].as_array().map(Vec::len)), (&json!(3), Some(100)));
    ids.push(unique("nobody"));
    for wrong in [json!(ids), json!([]), json!("a"), json!([1]), json!(["a b"]), json!([ids[0], null])] {
        many(&caller, &wrong).await.refused(400, "invalid_field", Some("peer_ids"));
    }
    let both = json!({"peer_id": ids[0], "peer_ids": [ids[1]]}).to_string();
    let sentence = caller.post("/heartbeat", &both).await.refused(400, "invalid_field", Some("peer_ids"));
    assert!(sentence.contains("peer_id:"), "{sentence}");
}

pub async fn nobody_renewed_is_an_answer_too(target: &Target) {
    let answer = many(&Caller::home(target), &json!([unique("nobody"), unique("nobody")])).await.ok();
    assert_eq!(
        (&answer["renewed"], &answer["results"][1]["code"]),
        (&json!(0), &json!("peer_not_registered"))
    );
}

pub async fn a_page_rides_along_with_heartbeats_for_many(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(4, &[&a]).await;
    let body = json!({"peer_ids": ids[..2], "discover": {"archetype": a, "exclude": ids[0]}}).to_string();
    let response = caller.post("/heartbeat", &body).await;
    assert_eq!(response.ids(), ids[1..]);
    assert_eq!((&response.ok()["renewed"], &response.ok()["total"]), (&json!(2), &json!(3)));
    let wrong = json!({"peer_ids": ids, "discover": {"limit": 0}}).to_string();
    caller.post("/heartbeat", &wrong).await.refused(400, "invalid_field", Some("discover.limit"));
}

async fn many(caller: &Caller<'_>, ids: &Value) -> Response {
    caller.post("/heartbeat", &json!({ "peer_ids": ids }).to_string()).await
}
