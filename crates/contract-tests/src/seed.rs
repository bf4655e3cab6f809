//! The examples in the documentation of the original service, verbatim, and its legacy clients.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::caller::{Caller, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;
/// The content type that `curl -d` sends.
const CURL: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];

pub async fn the_seeds_registration_answers_with_the_seeds_shape(target: &Target) {
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
    let answer = Caller::home(target).call("POST", "/register", CURL, body.as_bytes()).await.ok();
    assert_eq!(answer["message"], "Peer registered successfully");
    assert_eq!(answer["peer_id"], id);
    naive_time(&answer["ttl_expires"]);
}

pub async fn the_seeds_discovery_answers_with_the_seeds_shape(target: &Target) {
    let caller = Caller::home(target);
    caller.fill(2, &[&unique("a")]).await;
    let answer = caller.get("/discover").await.ok();
    let peers = answer["peers"].as_array().expect("a list");
    assert!(peers.len() >= 2);
    assert_eq!(answer["count"], peers.len());
    assert!(answer["total"].as_u64() >= answer["count"].as_u64());
    naive_time(&answer["timestamp"]);
}

pub async fn the_seeds_discovery_filters_by_archetype(target: &Target) {
    let caller = Caller::home(target);
    let (wanted, other) = (unique("pepino"), unique("ethics"));
    let ids = caller.fill(2, &[&wanted]).await;
    caller.fill(1, &[&other]).await;
    let response = caller.get(&format!("/discover?archetype={wanted}")).await;
    assert_eq!(response.ids(), ids);
    assert_eq!((&response.ok()["count"], &response.ok()["total"]), (&json!(2), &json!(2)));
}

pub async fn the_seeds_heartbeat_answers_with_the_seeds_shape(target: &Target) {
    let caller = Caller::home(target);
    let id = &caller.fill(1, &[]).await[0];
    let body = format!("{{\n  \"peer_id\": \"{id}\"\n}}");
    let answer = caller.call("POST", "/heartbeat", CURL, body.as_bytes()).await.ok();
    assert_eq!((&answer["message"], &answer["peer_id"]), (&json!("Heartbeat updated"), &json!(id)));
    naive_time(&answer["timestamp"]);
}

pub async fn the_seeds_health_check_is_healthy_and_says_nothing_else(target: &Target) {
    assert_eq!(Caller::home(target).get("/health").await.ok(), json!({"status": "healthy"}));
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

pub async fn todays_python_client_reads_each_peer(target: &Target) {
    let caller = Caller::home(target);
    let (id, archetype) = (unique("peer"), unique("a"));
    caller
        .register(&json!({"peer_id": id, "address": "10.1.2.3", "port": 9000, "archetypes": [archetype],
                          "metadata": {"version": "1.0.0"}, "ttl_seconds": 300, "reputation": 5}))
        .await;
    let answer = caller.get(&format!("/discover?archetype={archetype}&reputation=true")).await.ok();
    let peer: PythonPeer = serde_json::from_value(answer["peers"][0].clone()).expect("exactly the six keys");
    assert_eq!((peer.peer_id, peer.address, peer.port), (id, "10.1.2.3".to_owned(), 9000));
    assert_eq!((peer.archetypes, peer.metadata.len()), (vec![archetype], 1));
    let age = naive_time(&answer["timestamp"]) - naive_time(&peer.last_seen);
    assert!((0..300).contains(&age), "it drops peers whose last_seen is over 300 s old: {age}");
}

pub async fn todays_python_client_registers_beats_and_discovers(target: &Target) {
    const REQUESTS: [(&str, &str); 3] =
        [("user-agent", "python-requests/2.31.0"), ("accept-encoding", "gzip, deflate"), ("accept", "*/*")];
    let (caller, id) = (Caller::home(target), unique("peer"));
    for content_type in [&[("content-type", "application/json")][..], &[]] {
        let headers = [&REQUESTS[..], content_type].concat();
        let peer =
            json!({"peer_id": id, "address": "10.1.2.3", "port": 9000, "archetypes": [], "metadata": {}});
        let register = caller.call("POST", "/register", &headers, peer.to_string().as_bytes()).await;
        assert_eq!(register.ok()["peer_id"], id);
        let beat = json!({ "peer_id": id }).to_string();
        caller.call("POST", "/heartbeat", &headers, beat.as_bytes()).await.ok();
    }
    assert!(caller.get("/discover?reputation=true").await.ids().contains(&id));
}
