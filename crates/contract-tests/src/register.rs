//! `POST /register`

use serde_json::{Value, json};

use crate::client::{Client, encoded, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

/// Registers a peer with these fields and a unique archetype, and returns the peer as it is listed.
async fn listed(client: &Client<'_>, keys: &Value) -> Value {
    let (mut body, archetype) = (keys.clone(), unique("a"));
    body["peer_id"] = json!(unique("peer"));
    let carried = body.get("archetypes").and_then(Value::as_array).cloned().unwrap_or_default();
    body["archetypes"] = carried.into_iter().chain([json!(archetype)]).collect();
    client.register(&body).await;
    let mut fields = client.get(&format!("/discover?archetype={archetype}")).await.ok();
    assert_eq!(fields["count"], 1);
    fields["peers"][0].take()
}

pub async fn a_registration_returns_its_lease(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let response = client.register(&json!({ "peer_id": id })).await;
    let (fields, heartbeat) = (response.ok(), client.heartbeat(&id).await.ok());
    let mut keys =
        ["message", "peer_id", "ttl_expires", "ttl_seconds", "heartbeat_interval_seconds"].to_vec();
    keys.extend(["observed_address", "lease_token"]);
    keys.sort_unstable();
    assert_eq!(response.keys(), keys);
    let ttl = fields["ttl_seconds"].as_i64().expect("whole seconds");
    let registered = naive_time(&fields["ttl_expires"]) - ttl;
    assert!((0..60).contains(&(naive_time(&heartbeat["timestamp"]) - registered)));
    assert_eq!(fields["observed_address"], client.address());
    assert!(!fields["lease_token"].as_str().expect("a token").is_empty());
}

pub async fn a_registration_needs_only_an_id(target: &Target) {
    let client = Client::first(target);
    let peer = listed(&client, &json!({})).await;
    assert_eq!((&peer["address"], &peer["port"]), (&json!(client.address()), &json!(0)));
    assert_eq!(peer["metadata"], json!({}));
    let id = unique("peer");
    client.register(&json!({ "peer_id": id })).await;
    let all = client.get("/discover").await.ok();
    let bare = all["peers"].as_array().expect("a list").iter().find(|peer| peer["peer_id"] == id);
    assert_eq!(bare.expect("the peer is listed")["archetypes"], json!([]));
}

pub async fn null_means_that_an_optional_key_is_absent(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let nulls = json!({"peer_id": id, "address": null, "port": null, "archetypes": null, "metadata": null,
                       "ttl_seconds": null, "lease_token": null, "token_only": null, "discover": null});
    let (with_nulls, without) =
        (client.register(&nulls).await, client.register(&json!({ "peer_id": id })).await);
    assert_eq!(with_nulls.ok()["ttl_seconds"], without.ok()["ttl_seconds"]);
    assert_eq!(with_nulls.keys(), without.keys());
}

pub async fn unknown_keys_are_ignored(target: &Target) {
    let unknown = json!({"reputation": {"deep": [1, null]}, "Peer_Id": 7, "last_seen": "never"});
    let peer = listed(&Client::first(target), &unknown).await;
    assert_eq!(peer.as_object().expect("an object").len(), 6);
}

pub async fn a_blank_address_is_replaced_by_the_source_address(target: &Target) {
    let elsewhere = target.sees_sources.then(|| Client::second(target));
    for client in [Client::first(target)].into_iter().chain(elsewhere) {
        for blank in ["", "0.0.0.0", "::"] {
            assert_eq!(listed(&client, &json!({ "address": blank })).await["address"], client.address());
        }
    }
}

pub async fn every_kind_of_address_is_listed_as_registered(target: &Target) {
    let client = Client::first(target);
    let longest = format!("{}.example", ["a".repeat(60).as_str(); 4].join("."));
    for address in ["192.168.1.100", "2001:db8::1", "peer.example.org", "localhost", "127.0.0.1", &longest] {
        assert_eq!(listed(&client, &json!({ "address": address })).await["address"], address);
    }
}

pub async fn every_port_is_listed_as_registered(target: &Target) {
    for port in [0, 1, 9_000, 65_535] {
        assert_eq!(listed(&Client::first(target), &json!({ "port": port })).await["port"], port);
    }
}

pub async fn repeated_archetypes_are_stored_once(target: &Target) {
    let peer = listed(&Client::first(target), &json!({"archetypes": ["b", "a", "b"]})).await;
    let archetypes = peer["archetypes"].as_array().expect("a list");
    assert_eq!((archetypes.len(), &archetypes[..2]), (3, &[json!("b"), json!("a")][..]));
}

pub async fn metadata_is_returned_byte_for_byte(target: &Target) {
    let client = Client::first(target);
    let largest = format!("{{\"x\":\"{}\"}}", "y".repeat(4_088));
    assert_eq!(largest.len(), 4_096);
    for metadata in [
        r#"{ "n" : 123456789012345678901234567890.10 , "e":1E+99,"z":-0 }"#,
        r#"{"b":1,"a":[ {}, null,true ],"é":"\u00e9\ud83d\udc39\/\t"}"#,
        &format!("{}1{}", "{\"a\":".repeat(16), "}".repeat(16)),
        &largest,
    ] {
        let archetype = unique("a");
        let id = unique("peer");
        let body = format!(r#"{{"peer_id":"{id}","archetypes":["{archetype}"],"metadata":{metadata}}}"#);
        client.post("/register", &body).await.ok();
        let response = client.get(&format!("/discover?archetype={archetype}")).await;
        assert!(response.text().contains(&format!("\"metadata\":{metadata}")), "{}", response.text());
    }
}

pub async fn a_requested_lease_within_the_bounds_is_granted(target: &Target) {
    let client = Client::first(target);
    for ttl in [30, 31, 300, 3_600] {
        let fields = client.register(&json!({"peer_id": unique("peer"), "ttl_seconds": ttl})).await.ok();
        assert_eq!(fields["ttl_seconds"], ttl);
    }
}

pub async fn the_first_heartbeat_is_requested_within_a_third_of_the_lease(target: &Target) {
    let client = Client::first(target);
    for (ttl, interval) in [(30, 10), (300, 100), (600, 200), (3_600, 200)] {
        let fields = client.register(&json!({"peer_id": unique("peer"), "ttl_seconds": ttl})).await.ok();
        assert_eq!(fields["heartbeat_interval_seconds"], interval);
    }
}

pub async fn registering_again_replaces_the_whole_registration(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let (old, new) = (unique("old"), unique("new"));
    client
        .register(&json!({"peer_id": id, "address": "10.0.0.1", "port": 1, "archetypes": [old], "metadata": {"a": 1}}))
        .await;
    client.register(&json!({"peer_id": id, "archetypes": [new]})).await;
    assert_eq!(client.peers_with(&old).await, [""; 0]);
    let peer = &client.get(&format!("/discover?archetype={new}")).await.ok()["peers"][0];
    assert_eq!((&peer["peer_id"], &peer["port"]), (&json!(id), &json!(0)));
    assert_eq!((&peer["address"], &peer["metadata"]), (&json!(client.address()), &json!({})));
}

pub async fn an_id_may_contain_any_visible_ascii_character(target: &Target) {
    let client = Client::first(target);
    let every: String = (0x21..=0x7e).map(char::from).collect();
    let longest = format!("{:~<128}", unique("!"));
    for id in [every, longest, unique("\"\\/.."), unique("*#0"), unique("%00&=+?")] {
        let archetype = unique("a");
        client.register(&json!({"peer_id": id, "archetypes": [archetype]})).await;
        assert_eq!(client.peers_with(&archetype).await, [id.as_str()]);
        assert_eq!(client.heartbeat(&id).await.ok()["peer_id"], id);
        let excluded = format!("/discover?archetype={archetype}&exclude={}", encoded(&id));
        assert_eq!(client.get(&excluded).await.ids(), [""; 0]);
    }
}

pub async fn a_rejected_registration_changes_nothing(target: &Target) {
    let (client, id, archetype) = (Client::first(target), unique("peer"), unique("a"));
    let bad = json!({"peer_id": id, "archetypes": [archetype], "port": 65_536});
    client.post("/register", &bad.to_string()).await.refused(400, "invalid_field", Some("port"));
    client.heartbeat(&id).await.refused(404, "peer_not_registered", None);
    assert_eq!(client.peers_with(&archetype).await, [""; 0]);
}
