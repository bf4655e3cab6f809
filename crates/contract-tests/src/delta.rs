//! `GET /discover?since=…`: the changes since a cursor.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::caller::{Caller, unique};
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
async fn now(caller: &Caller<'_>, archetype: &str) -> String {
    let response = caller.get(&format!("/discover?archetype={archetype}&since=now")).await;
    assert_eq!(response.keys(), ["changed", "count", "joined", "left", "more", "since", "timestamp"]);
    assert_eq!((lists(&response), &response.ok()["more"]), (Default::default(), &json!(false)));
    since(&response)
}

async fn changes(caller: &Caller<'_>, archetype: &str, since: &str) -> Response {
    caller.get(&format!("/discover?archetype={archetype}&since={since}")).await
}

pub async fn who_asks_from_now_on_is_told_who_joins_changes_and_leaves(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a) = (Caller::home(target), unique("a"));
    let [stays, leaves] = caller.fill(2, &[&a]).await.try_into().expect("two");
    let start = now(&caller, &a).await;
    let [joins] = caller.fill(1, &[&a]).await.try_into().expect("one");
    caller.fill(3, &[&unique("other")]).await;
    caller.register(&json!({"peer_id": stays, "archetypes": [a], "port": 7})).await;
    caller.post("/deregister", &json!({ "peer_id": leaves }).to_string()).await.ok();
    let response = changes(&caller, &a, &start).await;
    assert_eq!(lists(&response), [vec![joins], vec![stays], vec![leaves]]);
    assert_eq!((&response.ok()["count"], &response.ok()["changed"][0]["port"]), (&json!(3), &json!(7)));
    let after = changes(&caller, &a, &since(&response)).await;
    assert_eq!(lists(&after), <[Vec<String>; 3]>::default(), "each is told once");
    let empty = caller.get(&format!("/discover?archetype={a}&since=")).await;
    assert_eq!(empty.ok()["count"], 0, "an empty one asks from now on");
}

pub async fn who_lays_down_an_archetype_leaves_its_followers(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a, b) = (Caller::home(target), unique("a"), unique("b"));
    let [peer] = caller.fill(1, &[&a]).await.try_into().expect("one");
    let (before, after) = (now(&caller, &a).await, now(&caller, &b).await);
    caller.register(&json!({"peer_id": peer, "archetypes": [b]})).await;
    assert_eq!(lists(&changes(&caller, &a, &before).await), [vec![], vec![], vec![peer.clone()]]);
    assert_eq!(lists(&changes(&caller, &b, &after).await), [vec![peer], vec![], vec![]]);
}

pub async fn a_renewal_is_no_change(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a) = (Caller::home(target), unique("a"));
    let [peer] = caller.fill(1, &[&a]).await.try_into().expect("one");
    let start = now(&caller, &a).await;
    caller.heartbeat(&peer).await.ok();
    caller.register(&json!({"peer_id": peer, "archetypes": [a]})).await;
    assert_eq!(changes(&caller, &a, &start).await.ok()["count"], 0);
}

pub async fn a_page_of_changes_is_bounded_and_goes_on(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a) = (Caller::home(target), unique("a"));
    let mut cursor = now(&caller, &a).await;
    let ids = caller.fill(7, &[&a]).await;
    let mut told = Vec::new();
    for _ in 0..200 {
        let response = caller.get(&format!("/discover?archetype={a}&limit=3&since={cursor}")).await;
        let joined = listed(&response, "joined");
        assert!(joined.len() <= 3 && response.ok()["count"] == joined.len());
        told.extend(joined);
        cursor = since(&response);
        if response.ok()["more"] == false {
            break;
        }
    }
    told.sort();
    assert_eq!(told, ids);
}

pub async fn an_enumeration_and_what_follows_it_miss_nothing(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a) = (Caller::home(target), unique("a"));
    caller.fill(5, &[&a]).await;
    let start = now(&caller, &a).await;
    let first = caller.get(&format!("/discover?archetype={a}&order=all&limit=3")).await;
    let cursor = first.ok()["next_cursor"].as_str().expect("a second page").to_owned();
    let mut known: BTreeSet<_> = first.ids().into_iter().collect();
    let leaves = known.first().expect("a peer").clone();
    caller.post("/deregister", &json!({ "peer_id": leaves }).to_string()).await.ok();
    caller.fill(4, &[&a]).await;
    let second = caller.get(&format!("/discover?archetype={a}&order=all&limit=100&cursor={cursor}")).await;
    known.extend(second.ids());
    caller.fill(2, &[&a]).await;
    let response = changes(&caller, &a, &start).await;
    known.extend(listed(&response, "joined"));
    for left in listed(&response, "left") {
        known.remove(&left);
    }
    assert_eq!(known, caller.carriers(&a).await.into_iter().collect());
}

pub async fn what_changed_is_listed_with_the_seeds_keys(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a) = (Caller::home(target), unique("a"));
    let start = now(&caller, &a).await;
    caller.fill(1, &[&a]).await;
    let listed = caller.get(&format!("/discover?archetype={a}")).await.ok();
    let seed = changes(&caller, &a, &start).await.ok();
    assert_eq!(seed["joined"][0], listed["peers"][0]);
    let full = caller.get(&format!("/discover?archetype={a}&since={start}&view=full")).await.ok();
    let full = full["joined"][0].as_object().expect("a peer");
    let expires_in = full["expires_in_seconds"].as_u64().expect("whole seconds");
    assert!(full.len() == 8 && (240..=300).contains(&expires_in), "{full:?}");
}

pub async fn a_since_is_good_for_the_same_query_only(target: &Target) {
    if !target.remembers {
        return;
    }
    let (caller, a) = (Caller::home(target), unique("a"));
    let start = now(&caller, &a).await;
    caller.fill(2, &[&a]).await;
    let page = caller.get(&format!("/discover?archetype={a}&order=all&limit=1")).await.ok();
    let cursor = page["next_cursor"].as_str().expect("a second page");
    for query in [
        format!("since={start}"),
        format!("archetype={}&since={start}", unique("other")),
        format!("archetype={a}&since=x{start}"),
        format!("archetype={a}&since={cursor}"),
    ] {
        caller.get(&format!("/discover?{query}")).await.refused(400, "invalid_cursor", Some("since"));
    }
}

pub async fn a_since_comes_without_an_order_or_a_cursor(target: &Target) {
    let caller = Caller::home(target);
    for (parameter, field) in [("order=all", "order"), ("cursor=x", "cursor"), ("since=", "since")] {
        let response = caller.get(&format!("/discover?since=&{parameter}")).await;
        response.refused(400, "invalid_parameter", Some(field));
    }
    let body = json!({"peer_id": "p", "discover": {"since": ""}}).to_string();
    caller.post("/heartbeat", &body).await.refused(400, "invalid_field", Some("discover.since"));
}

pub async fn where_nothing_is_remembered_the_caller_is_told_what_to_ask(target: &Target) {
    if target.remembers {
        return;
    }
    let caller = Caller::home(target);
    for since in ["", "now", "AQ"] {
        let response = caller.get(&format!("/discover?since={since}")).await;
        let sentence = response.refused(501, "not_available_here", None);
        assert!(sentence.contains("order=all"), "{sentence}");
    }
    caller.get("/watch").await.refused(501, "not_available_here", None);
}
