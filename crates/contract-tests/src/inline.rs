//! A `discover` key in another request.

use serde_json::{Value, json};

use crate::caller::{Caller, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_page_rides_along_with_a_heartbeat(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(3, &[&a]).await;
    let body = json!({"peer_id": ids[0], "discover": {"archetype": a, "exclude": ids[0]}});
    let response = caller.post("/heartbeat", &body.to_string()).await;
    let answer = response.ok();
    assert_eq!(response.ids(), ids[1..]);
    assert_eq!((&answer["count"], &answer["total"]), (&json!(2), &json!(2)));
    assert_eq!((&answer["message"], &answer["peer_id"]), (&json!("Heartbeat updated"), &json!(ids[0])));
}

pub async fn a_page_rides_along_with_a_registration(target: &Target) {
    let (caller, a, b) = (Caller::home(target), unique("a"), unique("b"));
    let mut ids = [caller.fill(1, &[&a]).await, caller.fill(1, &[&b]).await].concat();
    ids.push(unique("peer"));
    let discover = json!({"archetype": [a, b], "limit": 100, "view": "full"});
    let body = json!({"peer_id": ids[2], "archetypes": [a], "discover": discover});
    let response = caller.register(&body).await;
    ids.sort();
    assert_eq!(response.ids(), ids, "who registers is listed already");
    assert_eq!(response.ok()["peers"][0].as_object().expect("an object").len(), 8);
    assert!(response.ok()["lease_token"].is_string());
}

pub async fn an_enumeration_rides_along_with_heartbeats(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(5, &[&a]).await;
    let mut listed = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..10 {
        let discover = json!({"archetype": a, "order": "all", "limit": 2, "cursor": cursor});
        let body = json!({"peer_id": ids[0], "discover": if cursor.is_null() {
            json!({"archetype": a, "order": "all", "limit": 2})
        } else {
            discover
        }});
        let response = caller.post("/heartbeat", &body.to_string()).await;
        listed.extend(response.ids());
        cursor = response.ok().get("next_cursor").cloned().unwrap_or_default();
        if cursor.is_null() {
            break;
        }
    }
    listed.sort();
    assert_eq!(listed, ids);
}

pub async fn twenty_are_listed_unless_asked_otherwise(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(23, &[&a]).await;
    for (discover, expected) in [(json!({"archetype": a}), 20), (json!({"archetype": a, "limit": 100}), 23)] {
        let body = json!({"peer_id": ids[0], "discover": discover});
        assert_eq!(caller.post("/heartbeat", &body.to_string()).await.ids().len(), expected);
    }
}

pub async fn a_page_that_is_refused_changes_nothing(target: &Target) {
    let (caller, id) = (Caller::home(target), unique("peer"));
    let body = json!({"peer_id": id, "discover": {"limit": 101}});
    caller.post("/register", &body.to_string()).await.refused(400, "invalid_field", Some("discover.limit"));
    caller.heartbeat(&id).await.refused(404, "peer_not_registered", None);
}

pub async fn without_it_no_page_is_answered(target: &Target) {
    let caller = Caller::home(target);
    let id = &caller.fill(1, &[]).await[0];
    for body in [json!({ "peer_id": id }), json!({"peer_id": id, "discover": null})] {
        let answer = caller.post("/heartbeat", &body.to_string()).await.ok();
        assert!(answer.get("peers").is_none() && answer.get("count").is_none());
    }
}

pub async fn a_newcomers_first_peers_come_with_its_registration(target: &Target) {
    let (caller, rare) = (Caller::home(target), unique("rare"));
    caller.fill(7, &[&unique("common")]).await;
    let friend = caller.fill(1, &[&rare]).await.remove(0);
    let id = unique("newcomer");
    let discover = json!({"archetype": rare, "limit": 5, "exclude": id, "fill": "any"});
    let response = caller.register(&json!({"peer_id": id, "archetypes": [rare], "discover": discover})).await;
    let listed = response.ids();
    assert_eq!(listed.len(), 5);
    assert!(listed.contains(&friend) && !listed.contains(&id), "{listed:?}");
    assert_eq!(response.ok()["total"], 1);
    let beat = caller.post("/heartbeat", &json!({"peer_id": id, "discover": discover}).to_string()).await;
    assert!(beat.ids().len() == 5 && !beat.ids().contains(&id));
}
