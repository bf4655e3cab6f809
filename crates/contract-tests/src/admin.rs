//! Administration: evicting and blocking peers.

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::wire::Response;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

/// Sends a request with the operator's API key and returns the response. If the target has no such
/// key, the service has no administration: the request must get 404, and the result is `None`.
async fn admin(target: &Target, method: &str, path: &str, body: &Value) -> Option<Response> {
    let client = Client::first(target);
    let Some(key) = &target.admin_key else {
        client.request(method, path, &[], body.to_string().as_bytes()).await.refused(404, "not_found", None);
        return None;
    };
    let bearer = format!("Bearer {key}");
    Some(client.request(method, path, &[("authorization", &bearer)], body.to_string().as_bytes()).await)
}

pub async fn administration_needs_a_key_that_permits_it(target: &Target) {
    let client = Client::first(target);
    let (status, code) = if target.admin_key.is_some() { (401, "unauthorized") } else { (404, "not_found") };
    let body = json!({"peer_id": unique("peer")}).to_string();
    for path in ["/admin/evict", "/admin/block", "/admin/unblock"] {
        client.post(path, &body).await.refused(status, code, None);
        let headers = [("x-api-key", "unknown")];
        client.request("POST", path, &headers, body.as_bytes()).await.refused(status, code, None);
    }
    client.get("/admin/blocks").await.refused(status, code, None);
}

pub async fn an_operator_evicts_a_peer(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let peer = json!({ "peer_id": id });
    client.post("/register", &peer.to_string()).await.ok();
    let Some(evicted) = admin(target, "POST", "/admin/evict", &peer).await else { return };
    assert_eq!(evicted.ok(), json!({"message": "Peers evicted", "evicted": 1}));
    client.post("/heartbeat", &peer.to_string()).await.refused(404, "peer_not_registered", None);
    let again = admin(target, "POST", "/admin/evict", &peer).await.expect("the service has administration");
    assert_eq!(again.ok()["evicted"], 0);
    Client::second(target).post("/register", &peer.to_string()).await.ok();
}

pub async fn an_operator_blocks_a_peer_until_it_is_unblocked(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let peer = json!({ "peer_id": id });
    client.post("/register", &peer.to_string()).await.ok();
    let block = json!({"peer_id": id, "reason": "a test", "duration_seconds": 3_600});
    let Some(blocked) = admin(target, "POST", "/admin/block", &block).await else { return };
    assert_eq!(blocked.ok(), json!({"message": "Blocked", "evicted": 1}));
    for path in ["/register", "/heartbeat", "/deregister"] {
        client.post(path, &peer.to_string()).await.refused(403, "blocked", None);
    }
    let listed = admin(target, "GET", "/admin/blocks", &Value::Null).await.expect("the blocks").ok();
    let listed = listed["blocks"].as_array().expect("a list");
    let block = listed.iter().find(|block| block["peer_id"] == id).expect("the block is listed");
    assert_eq!(block["reason"], "a test");
    assert!(block["expires_in_seconds"].as_u64().is_some_and(|seconds| (3_500..=3_600).contains(&seconds)));
    let unblocked =
        admin(target, "POST", "/admin/unblock", &peer).await.expect("the service has administration");
    assert_eq!(unblocked.ok(), json!({"message": "Unblocked"}));
    client.post("/register", &peer.to_string()).await.ok();
    let again = admin(target, "POST", "/admin/unblock", &peer).await.expect("the service has administration");
    again.refused(404, "not_found", None);
}
