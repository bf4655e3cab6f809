//! `GET /discover?since=…`: the changes since a cursor.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

/// The ids in one list of a response.
fn listed(response: &Response, list: &str) -> Vec<String> {
    let id = |peer: &Value| peer.get("peer_id").unwrap_or(peer).as_str().expect("an id").to_owned();
    response.ok()[list].as_array().expect("a list").iter().map(id).collect()
}

/// The ids of the peers that joined, changed and left.
fn lists(response: &Response) -> [Vec<String>; 3] {
    ["joined", "changed", "left"].map(|list| listed(response, list))
}

fn since(response: &Response) -> String {
    response.ok()["since"].as_str().expect("a cursor").to_owned()
}

/// The current cursor for changes of `archetype`.
async fn now(client: &Client<'_>, archetype: &str) -> String {
    let response = client.get(&format!("/discover?archetype={archetype}&since=now")).await;
    assert_eq!(response.keys(), ["changed", "count", "joined", "left", "more", "since", "timestamp"]);
    assert_eq!((lists(&response), &response.ok()["more"]), (Default::default(), &json!(false)));
    since(&response)
}

async fn changes(client: &Client<'_>, archetype: &str, since: &str) -> Response {
    client.get(&format!("/discover?archetype={archetype}&since={since}")).await
}

pub async fn a_delta_lists_the_peers_that_joined_changed_and_left(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a) = (Client::first(target), unique("a"));
    let [stays, leaves] = client.register_many(2, &[&a]).await.try_into().expect("two");
    let start = now(&client, &a).await;
    let [joins] = client.register_many(1, &[&a]).await.try_into().expect("one");
    client.register_many(3, &[&unique("other")]).await;
    client.register(&json!({"peer_id": stays, "archetypes": [a], "port": 7})).await;
    client.post("/deregister", &json!({ "peer_id": leaves }).to_string()).await.ok();
    let response = changes(&client, &a, &start).await;
    assert_eq!(lists(&response), [vec![joins], vec![stays], vec![leaves]]);
    assert_eq!((&response.ok()["count"], &response.ok()["changed"][0]["port"]), (&json!(3), &json!(7)));
    let after = changes(&client, &a, &since(&response)).await;
    assert_eq!(lists(&after), <[Vec<String>; 3]>::default(), "each change is listed once");
    let empty = client.get(&format!("/discover?archetype={a}&since=")).await;
    assert_eq!(empty.ok()["count"], 0, "an empty since means now");
}

pub async fn a_peer_that_drops_an_archetype_leaves_its_delta(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a, b) = (Client::first(target), unique("a"), unique("b"));
    let [peer] = client.register_many(1, &[&a]).await.try_into().expect("one");
    let (before, after) = (now(&client, &a).await, now(&client, &b).await);
    client.register(&json!({"peer_id": peer, "archetypes": [b]})).await;
    assert_eq!(lists(&changes(&client, &a, &before).await), [vec![], vec![], vec![peer.clone()]]);
    assert_eq!(lists(&changes(&client, &b, &after).await), [vec![peer], vec![], vec![]]);
}

pub async fn a_renewal_is_not_a_change(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a) = (Client::first(target), unique("a"));
    let [peer] = client.register_many(1, &[&a]).await.try_into().expect("one");
    let start = now(&client, &a).await;
    client.heartbeat(&peer).await.ok();
    client.register(&json!({"peer_id": peer, "archetypes": [a]})).await;
    assert_eq!(changes(&client, &a, &start).await.ok()["count"], 0);
}

pub async fn a_delta_is_limited_and_continues(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a) = (Client::first(target), unique("a"));
    let mut cursor = now(&client, &a).await;
    let ids = client.register_many(7, &[&a]).await;
    let mut all_joined = Vec::new();
    for _ in 0..200 {
        let response = client.get(&format!("/discover?archetype={a}&limit=3&since={cursor}")).await;
        let joined = listed(&response, "joined");
        assert!(joined.len() <= 3 && response.ok()["count"] == joined.len());
        all_joined.extend(joined);
        cursor = since(&response);
        if response.ok()["more"] == false {
            break;
        }
    }
    all_joined.sort();
    assert_eq!(all_joined, ids);
}

pub async fn an_enumeration_and_a_delta_together_miss_no_peer(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a) = (Client::first(target), unique("a"));
    client.register_many(5, &[&a]).await;
    let start = now(&client, &a).await;
    let first = client.get(&format!("/discover?archetype={a}&order=all&limit=3")).await;
    let cursor = first.ok()["next_cursor"].as_str().expect("a second page").to_owned();
    let mut known: BTreeSet<_> = first.ids().into_iter().collect();
    let leaves = known.first().expect("a peer").clone();
    client.post("/deregister", &json!({ "peer_id": leaves }).to_string()).await.ok();
    client.register_many(4, &[&a]).await;
    let second = client.get(&format!("/discover?archetype={a}&order=all&limit=100&cursor={cursor}")).await;
    known.extend(second.ids());
    client.register_many(2, &[&a]).await;
    let response = changes(&client, &a, &start).await;
    known.extend(listed(&response, "joined"));
    for left in listed(&response, "left") {
        known.remove(&left);
    }
    assert_eq!(known, client.peers_with(&a).await.into_iter().collect());
}

pub async fn a_delta_lists_peers_in_the_requested_view(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a) = (Client::first(target), unique("a"));
    let start = now(&client, &a).await;
    client.register_many(1, &[&a]).await;
    let listed = client.get(&format!("/discover?archetype={a}")).await.ok();
    let legacy = changes(&client, &a, &start).await.ok();
    assert_eq!(legacy["joined"][0], listed["peers"][0]);
    let full = client.get(&format!("/discover?archetype={a}&since={start}&view=full")).await.ok();
    let full = full["joined"][0].as_object().expect("a peer");
    let expires_in = full["expires_in_seconds"].as_u64().expect("whole seconds");
    assert!(full.len() == 8 && (240..=300).contains(&expires_in), "{full:?}");
}

pub async fn since_is_valid_only_for_its_query(target: &Target) {
    if !target.has_change_log {
        return;
    }
    let (client, a) = (Client::first(target), unique("a"));
    let start = now(&client, &a).await;
    client.register_many(2, &[&a]).await;
    let page = client.get(&format!("/discover?archetype={a}&order=all&limit=1")).await.ok();
    let cursor = page["next_cursor"].as_str().expect("a second page");
    for query in [
        format!("since={start}"),
        format!("archetype={}&since={start}", unique("other")),
        format!("archetype={a}&since=x{start}"),
        format!("archetype={a}&since={cursor}"),
    ] {
        client.get(&format!("/discover?{query}")).await.refused(400, "invalid_cursor", Some("since"));
    }
}

pub async fn since_can_not_be_combined_with_order_or_cursor(target: &Target) {
    let client = Client::first(target);
    for (parameter, field) in [("order=all", "order"), ("cursor=x", "cursor"), ("since=", "since")] {
        let response = client.get(&format!("/discover?since=&{parameter}")).await;
        response.refused(400, "invalid_parameter", Some(field));
    }
    let body = json!({"peer_id": "p", "discover": {"since": ""}}).to_string();
    client.post("/heartbeat", &body).await.refused(400, "invalid_field", Some("discover.since"));
}

pub async fn without_a_change_log_since_is_rejected_with_an_alternative(target: &Target) {
    if target.has_change_log {
        return;
    }
    let client = Client::first(target);
    for since in ["", "now", "AQ"] {
        let response = client.get(&format!("/discover?since={since}")).await;
        let sentence = response.refused(501, "not_available_here", None);
        assert!(sentence.contains("order=all"), "{sentence}");
    }
    client.get("/watch").await.refused(501, "not_available_here", None);
}
