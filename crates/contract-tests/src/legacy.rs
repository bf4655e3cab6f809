//! The examples in the documentation of the original service, verbatim, and its legacy clients.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{Client, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;
/// The content type that `curl -d` sends.
const CURL: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

pub async fn the_original_registration_example_gets_the_original_response(target: &Target) {
    let id = unique("uuid-or-identifier");
    let body = format!(
        r#"{{
  "peer_id": "{id}",
  "address": "192.168.1.100",
  "port": 9000,
  "archetypes": ["pepino", "ethics"],
  "metadata": {{
    "version": "1.0.0",
    "capabilities": ["tensor-exchange"]
  }}
}}"#
    );
    let fields = Client::first(target).request("POST", "/register", CURL, body.as_bytes()).await.ok();
    assert_eq!(fields["message"], "Peer registered successfully");
    assert_eq!(fields["peer_id"], id);
    naive_time(&fields["ttl_expires"]);
}

pub async fn the_original_discovery_example_gets_the_original_response(target: &Target) {
    let client = Client::first(target);
    client.register_many(2, &[&unique("a")]).await;
    let fields = client.get("/discover").await.ok();
    let peers = fields["peers"].as_array().expect("a list");
    assert!(peers.len() >= 2);
    assert_eq!(fields["count"], peers.len());
    assert!(fields["total"].as_u64() >= fields["count"].as_u64());
    naive_time(&fields["timestamp"]);
}

pub async fn the_original_discovery_example_filters_by_archetype(target: &Target) {
    let client = Client::first(target);
    let (wanted, other) = (unique("pepino"), unique("ethics"));
    let ids = client.register_many(2, &[&wanted]).await;
    client.register_many(1, &[&other]).await;
    let response = client.get(&format!("/discover?archetype={wanted}")).await;
    assert_eq!(response.ids(), ids);
    assert_eq!((&response.ok()["count"], &response.ok()["total"]), (&json!(2), &json!(2)));
}

pub async fn the_original_heartbeat_example_gets_the_original_response(target: &Target) {
    let client = Client::first(target);
    let id = &client.register_many(1, &[]).await[0];
    let body = format!("{{\n  \"peer_id\": \"{id}\"\n}}");
    let fields = client.request("POST", "/heartbeat", CURL, body.as_bytes()).await.ok();
    assert_eq!((&fields["message"], &fields["peer_id"]), (&json!("Heartbeat updated"), &json!(id)));
    naive_time(&fields["timestamp"]);
}

pub async fn the_health_check_returns_only_the_status(target: &Target) {
    assert_eq!(Client::first(target).get("/health").await.ok(), json!({"status": "healthy"}));
}

/// What the legacy Python client constructs from each peer. Its constructor fails if a key is
/// missing or unknown.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PythonPeer {
    peer_id: String,
    address: String,
    port: u16,
    archetypes: Vec<String>,
    last_seen: Value,
    metadata: Map<String, Value>,
}

pub async fn the_legacy_python_client_can_parse_each_peer(target: &Target) {
    let client = Client::first(target);
    let (id, archetype) = (unique("peer"), unique("a"));
    client
        .register(&json!({"peer_id": id, "address": "10.1.2.3", "port": 9000, "archetypes": [archetype],
                          "metadata": {"version": "1.0.0"}, "ttl_seconds": 300, "reputation": 5}))
        .await;
    let fields = client.get(&format!("/discover?archetype={archetype}&reputation=true")).await.ok();
    let peer: PythonPeer = serde_json::from_value(fields["peers"][0].clone()).expect("exactly the six keys");
    assert_eq!((peer.peer_id, peer.address, peer.port), (id, "10.1.2.3".to_owned(), 9000));
    assert_eq!((peer.archetypes, peer.metadata.len()), (vec![archetype], 1));
    let age = naive_time(&fields["timestamp"]) - naive_time(&peer.last_seen);
    assert!(
        (0..300).contains(&age),
        "the legacy client drops peers whose last_seen is over 300 s old: {age}"
    );
}

pub async fn the_legacy_python_client_can_register_send_heartbeats_and_discover(target: &Target) {
    const REQUESTS: [(&str, &str); 3] =
        [("user-agent", "python-requests/2.31.0"), ("accept-encoding", "gzip, deflate"), ("accept", "*/*")];
    let (client, id) = (Client::first(target), unique("peer"));
    for content_type in [&[("content-type", "application/json")][..], &[]] {
        let headers = [&REQUESTS[..], content_type].concat();
        let peer =
            json!({"peer_id": id, "address": "10.1.2.3", "port": 9000, "archetypes": [], "metadata": {}});
        let register = client.request("POST", "/register", &headers, peer.to_string().as_bytes()).await;
        assert_eq!(register.ok()["peer_id"], id);
        let heartbeat = json!({ "peer_id": id }).to_string();
        client.request("POST", "/heartbeat", &headers, heartbeat.as_bytes()).await.ok();
    }
    assert!(client.get("/discover?reputation=true").await.ids().contains(&id));
}
