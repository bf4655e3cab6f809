//! A `discover` key in another request.

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_heartbeat_can_include_a_page(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(3, &[&a]).await;
    let body = json!({"peer_id": ids[0], "discover": {"archetype": a, "exclude": ids[0]}});
    let response = client.post("/heartbeat", &body.to_string()).await;
    let fields = response.ok();
    assert_eq!(response.ids(), ids[1..]);
    assert_eq!((&fields["count"], &fields["total"]), (&json!(2), &json!(2)));
    assert_eq!((&fields["message"], &fields["peer_id"]), (&json!("Heartbeat updated"), &json!(ids[0])));
}

pub async fn a_registration_can_include_a_page(target: &Target) {
    let (client, a, b) = (Client::first(target), unique("a"), unique("b"));
    let mut ids = [client.register_many(1, &[&a]).await, client.register_many(1, &[&b]).await].concat();
    ids.push(unique("peer"));
    let discover = json!({"archetype": [a, b], "limit": 100, "view": "full"});
    let body = json!({"peer_id": ids[2], "archetypes": [a], "discover": discover});
    let response = client.register(&body).await;
    ids.sort();
    assert_eq!(response.ids(), ids, "the new peer is listed already");
    assert_eq!(response.ok()["peers"][0].as_object().expect("an object").len(), 8);
    assert!(response.ok()["lease_token"].is_string());
}

pub async fn an_enumeration_can_be_continued_by_heartbeats(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(5, &[&a]).await;
    let mut listed = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..10 {
        let discover = json!({"archetype": a, "order": "all", "limit": 2, "cursor": cursor});
        let body = json!({"peer_id": ids[0], "discover": if cursor.is_null() {
            json!({"archetype": a, "order": "all", "limit": 2})
        } else {
            discover
        }});
        let response = client.post("/heartbeat", &body.to_string()).await;
        listed.extend(response.ids());
        cursor = response.ok().get("next_cursor").cloned().unwrap_or_default();
        if cursor.is_null() {
            break;
        }
    }
    listed.sort();
    assert_eq!(listed, ids);
}

pub async fn an_inline_page_lists_twenty_peers_by_default(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(23, &[&a]).await;
    for (discover, expected) in [(json!({"archetype": a}), 20), (json!({"archetype": a, "limit": 100}), 23)] {
        let body = json!({"peer_id": ids[0], "discover": discover});
        assert_eq!(client.post("/heartbeat", &body.to_string()).await.ids().len(), expected);
    }
}

pub async fn a_request_with_an_invalid_page_changes_nothing(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let body = json!({"peer_id": id, "discover": {"limit": 101}});
    client.post("/register", &body.to_string()).await.refused(400, "invalid_field", Some("discover.limit"));
    client.heartbeat(&id).await.refused(404, "peer_not_registered", None);
}

pub async fn a_response_has_no_page_unless_requested(target: &Target) {
    let client = Client::first(target);
    let id = &client.register_many(1, &[]).await[0];
    for body in [json!({ "peer_id": id }), json!({"peer_id": id, "discover": null})] {
        let fields = client.post("/heartbeat", &body.to_string()).await.ok();
        assert!(fields.get("peers").is_none() && fields.get("count").is_none());
    }
}

pub async fn a_registration_returns_the_first_peers_of_a_newcomer(target: &Target) {
    let (client, rare) = (Client::first(target), unique("rare"));
    client.register_many(7, &[&unique("common")]).await;
    let friend = client.register_many(1, &[&rare]).await.remove(0);
    let id = unique("newcomer");
    let discover = json!({"archetype": rare, "limit": 5, "exclude": id, "fill": "any"});
    let response = client.register(&json!({"peer_id": id, "archetypes": [rare], "discover": discover})).await;
    let listed = response.ids();
    assert_eq!(listed.len(), 5);
    assert!(listed.contains(&friend) && !listed.contains(&id), "{listed:?}");
    assert_eq!(response.ok()["total"], 1);
    let heartbeat =
        client.post("/heartbeat", &json!({"peer_id": id, "discover": discover}).to_string()).await;
    assert!(heartbeat.ids().len() == 5 && !heartbeat.ids().contains(&id));
}
