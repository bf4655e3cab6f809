//! `GET /sd/prometheus`

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn prometheus_gets_the_peers_of_an_archetype_that_accept_connections(target: &Target) {
    let client = Client::first(target);
    let (archetype, dialled, v6) = (unique("a"), unique("p"), unique("p"));
    for (peer_id, address, port) in
        [(&dialled, "192.0.2.1", 9_100), (&v6, "2001:db8::1", 9_100), (&unique("p"), "192.0.2.2", 0)]
    {
        let peer = json!({"peer_id": peer_id, "address": address, "port": port, "archetypes": [archetype]});
        client.register(&peer).await.ok();
    }
    client.register_many(2, &[&unique("other")]).await;
    let groups = client.get(&format!("/sd/prometheus?archetype={archetype}&limit=1")).await.ok();
    let mut groups = groups.as_array().expect("a list").clone();
    groups.sort_by_key(|group| group["targets"][0].to_string());
    let group = |peer_id: &str, address: &str| {
        let archetypes = format!(",{archetype},");
        json!({
            "targets": [address],
            "labels": {"__meta_aurora_peer_id": peer_id, "__meta_aurora_archetypes": archetypes},
        })
    };
    assert_eq!(groups, [group(&dialled, "192.0.2.1:9100"), group(&v6, "[2001:db8::1]:9100")]);
}

pub async fn prometheus_gets_all_peers_and_an_empty_list_if_none_matches(target: &Target) {
    let client = Client::first(target);
    let peer_id = unique("p");
    client.register(&json!({"peer_id": peer_id, "port": 9_100, "archetypes": [unique("a")]})).await.ok();
    let all = client.get("/sd/prometheus").await.ok();
    let mut ids =
        all.as_array().expect("a list").iter().map(|group| &group["labels"]["__meta_aurora_peer_id"]);
    assert!(ids.any(|id| id.as_str() == Some(peer_id.as_str())), "{all}");
    let none = client.get(&format!("/sd/prometheus?archetype={}", unique("none"))).await.ok();
    assert_eq!(none, Value::Array(Vec::new()));
}
