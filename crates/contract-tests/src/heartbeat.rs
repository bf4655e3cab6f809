//! `POST /heartbeat`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, naive_time, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_heartbeat_returns_the_lease(target: &Target) {
    let client = Client::first(target);
    let id = &client.register_many(1, &[]).await[0];
    let response = client.heartbeat(id).await;
    let keys = [
        "heartbeat_interval_seconds",
        "message",
        "observed_address",
        "peer_id",
        "timestamp",
        "ttl_expires",
        "ttl_seconds",
    ];
    assert_eq!(response.keys(), keys);
    let fields = response.ok();
    assert_eq!(fields["observed_address"], client.address());
    let lease = naive_time(&fields["ttl_expires"]) - naive_time(&fields["timestamp"]);
    assert_eq!(Some(lease), fields["ttl_seconds"].as_i64());
}

pub async fn a_heartbeat_renews_the_lease_for_the_granted_duration(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    client.register(&json!({"peer_id": id, "ttl_seconds": 45})).await;
    let fields = client.heartbeat(&id).await.ok();
    assert_eq!(fields["ttl_seconds"], 45);
    assert!(
        (12..=15).contains(&interval(&fields)),
        "the interval is at most a fifth shorter than a third of the lease"
    );
}

pub async fn heartbeat_intervals_are_spread_within_a_third_of_the_lease(target: &Target) {
    let client = Client::first(target);
    let id = &client.register_many(1, &[]).await[0];
    let mut intervals = BTreeSet::new();
    for _ in 0..40 {
        intervals.insert(interval(&client.heartbeat(id).await.ok()));
    }
    assert!(intervals.iter().all(|seconds| (80..=100).contains(seconds)), "{intervals:?}");
    assert!(intervals.len() > 5, "the intervals are not spread: {intervals:?}");
}

/// The requested time until the next heartbeat.
pub(crate) fn interval(fields: &Value) -> u64 {
    fields["heartbeat_interval_seconds"].as_u64().expect("whole seconds")
}

pub async fn a_heartbeat_never_creates_a_peer(target: &Target) {
    let (client, id) = (Client::first(target), unique("unknown"));
    for _ in 0..2 {
        client.heartbeat(&id).await.refused(404, "peer_not_registered", None);
    }
    assert!(!client.get("/discover").await.ids().contains(&id));
}

pub async fn a_heartbeat_is_accepted_from_any_address(target: &Target) {
    let id = &Client::first(target).register_many(1, &[]).await[0];
    Client::second(target).heartbeat(id).await.ok();
}

pub async fn a_heartbeat_reports_the_address_of_a_peer_that_moved(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (first, second) = (Client::first(target), Client::second(target));
    let id = &first.register_many(1, &[]).await[0];
    assert_eq!(second.heartbeat(id).await.ok()["observed_address"], second.address());
    assert_eq!(many(&second, &json!([id])).await.ok()["observed_address"], second.address());
    assert_eq!(first.heartbeat(id).await.ok()["observed_address"], first.address());
}

pub async fn a_heartbeat_with_a_wrong_token_is_refused(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let lease = client.register(&json!({ "peer_id": id })).await.ok();
    let right = json!({"peer_id": id, "lease_token": lease["lease_token"]}).to_string();
    let wrong = json!({"peer_id": id, "lease_token": "of-a-former-holder"}).to_string();
    let sentence = client.post("/heartbeat", &wrong).await.refused(403, "not_holder", None);
    assert!(sentence.contains("lease_token"), "{sentence}");
    for client in [client, Client::second(target)] {
        client.post("/heartbeat", &right).await.ok();
    }
    let null = json!({"peer_id": id, "lease_token": null}).to_string();
    Client::first(target).post("/heartbeat", &null).await.ok();
}

pub async fn each_peer_of_a_list_may_have_its_token(target: &Target) {
    let (client, ids) = (Client::first(target), [unique("peer"), unique("peer"), unique("peer")]);
    let mut tokens = Vec::new();
    for id in &ids {
        tokens.push(client.register(&json!({ "peer_id": id })).await.ok()["lease_token"].clone());
    }
    let entries = json!([
        {"peer_id": ids[0], "lease_token": tokens[0]},
        {"peer_id": ids[1], "lease_token": tokens[0]},
        ids[2],
        {"peer_id": unique("unknown"), "lease_token": tokens[0]},
    ]);
    let fields = many(&client, &entries).await.ok();
    let codes: Vec<_> =
        fields["results"].as_array().expect("results").iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, [&json!(null), &json!("not_holder"), &json!(null), &json!("peer_not_registered")]);
    assert_eq!((&fields["renewed"], &fields["results"][1]["peer_id"]), (&json!(2), &json!(ids[1])));
    assert!(fields["results"][1]["error"].as_str().expect("a sentence").contains("lease_token"));
}

pub async fn a_heartbeat_for_many_peers_returns_one_result_each_in_request_order(target: &Target) {
    let client = Client::first(target);
    let ids = client.register_many(3, &[]).await;
    let unknown = unique("unknown");
    let response = many(&client, &json!([ids[2], unknown, ids[0], ids[2], ids[1]])).await;
    assert_eq!(response.keys(), ["message", "observed_address", "renewed", "results", "timestamp"]);
    let fields = response.ok();
    assert_eq!((&fields["message"], &fields["renewed"]), (&json!("Heartbeats updated"), &json!(3)));
    let results = fields["results"].as_array().expect("results");
    let listed: Vec<_> = results.iter().map(|result| result["peer_id"].as_str().expect("an id")).collect();
    assert_eq!(listed, [&ids[2], &unknown, &ids[0], &ids[1]], "a repeated id has one result");
    for (result, renewed) in results.iter().zip([true, false, true, true]) {
        let keys: Vec<_> = result.as_object().expect("an object").keys().collect();
        if renewed {
            assert_eq!(keys, ["heartbeat_interval_seconds", "peer_id", "ttl_expires", "ttl_seconds"]);
            let lease = naive_time(&result["ttl_expires"]) - naive_time(&fields["timestamp"]);
            assert_eq!(Some(lease), result["ttl_seconds"].as_i64());
        } else {
            assert_eq!(keys, ["code", "error", "peer_id"]);
            assert_eq!(result["code"], "peer_not_registered");
        }
    }
    assert!(!client.get("/discover").await.ids().contains(&unknown), "a heartbeat never creates a peer");
}

pub async fn a_heartbeat_for_many_peers_accepts_at_most_a_hundred_ids(target: &Target) {
    let client = Client::first(target);
    let mut ids = client.register_many(3, &[]).await;
    ids.extend((0..97).map(|_| unique("unknown")));
    let fields = many(&client, &json!(ids)).await.ok();
    assert_eq!((&fields["renewed"], fields["results"].as_array().map(Vec::len)), (&json!(3), Some(100)));
    ids.push(unique("unknown"));
    for wrong in
        [json!(ids), json!([]), json!("a"), json!([1]), json!(["a b"]), json!([ids[0], null]), json!([{}])]
    {
        many(&client, &wrong).await.refused(400, "invalid_field", Some("peer_ids"));
    }
    let both = json!({"peer_id": ids[0], "peer_ids": [ids[1]]}).to_string();
    let sentence = client.post("/heartbeat", &both).await.refused(400, "invalid_field", Some("peer_ids"));
    assert!(sentence.contains("peer_id:"), "{sentence}");
}

pub async fn a_heartbeat_for_unknown_peers_only_still_succeeds(target: &Target) {
    let fields = many(&Client::first(target), &json!([unique("unknown"), unique("unknown")])).await.ok();
    assert_eq!(
        (&fields["renewed"], &fields["results"][1]["code"]),
        (&json!(0), &json!("peer_not_registered"))
    );
}

pub async fn a_heartbeat_for_many_peers_can_include_a_page(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(4, &[&a]).await;
    let body = json!({"peer_ids": ids[..2], "discover": {"archetype": a, "exclude": ids[0]}}).to_string();
    let response = client.post("/heartbeat", &body).await;
    assert_eq!(response.ids(), ids[1..]);
    assert_eq!((&response.ok()["renewed"], &response.ok()["total"]), (&json!(2), &json!(3)));
    let wrong = json!({"peer_ids": ids, "discover": {"limit": 0}}).to_string();
    client.post("/heartbeat", &wrong).await.refused(400, "invalid_field", Some("discover.limit"));
}

async fn many(client: &Client<'_>, ids: &Value) -> Response {
    client.post("/heartbeat", &json!({ "peer_ids": ids }).to_string()).await
}
