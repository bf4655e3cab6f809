//! Token-only peers: only a client with the token can replace, renew or deregister them.

use serde_json::{Value, json};

use crate::client::{Client, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

/// Registers a token-only peer and returns its lease.
pub(crate) async fn register(client: &Client<'_>, id: &str) -> Value {
    client.register(&json!({"peer_id": id, "token_only": true})).await.ok()
}

/// A body with a peer and the token of its lease.
pub(crate) fn with_token(id: &str, lease: &Value) -> String {
    json!({"peer_id": id, "lease_token": lease["lease_token"]}).to_string()
}

pub async fn a_token_only_peer_is_changed_only_with_its_token(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let lease = register(&client, &id).await;
    let wrong = json!({"peer_id": id, "lease_token": "guessed"});
    for body in [json!({ "peer_id": id }), wrong] {
        for path in ["/register", "/heartbeat", "/deregister"] {
            client.post(path, &body.to_string()).await.refused(403, "not_holder", None);
        }
    }
    for client in [&client, &Client::second(target)] {
        client.post("/heartbeat", &with_token(&id, &lease)).await.ok();
    }
    client.post("/deregister", &with_token(&id, &lease)).await.ok();
}

pub async fn making_a_live_peer_token_only_needs_its_token(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let lease = client.register(&json!({ "peer_id": id })).await.ok();
    let mut body = json!({"peer_id": id, "token_only": true});
    client.post("/register", &body.to_string()).await.refused(403, "not_holder", None);
    body["lease_token"] = lease["lease_token"].clone();
    client.register(&body).await;
    client.heartbeat(&id).await.refused(403, "not_holder", None);
}

pub async fn registering_with_a_token_does_not_make_the_token_required(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let lease = client.register(&json!({ "peer_id": id })).await.ok();
    client.post("/register", &with_token(&id, &lease)).await.ok();
    for stale in [json!({ "peer_id": id }), json!({"peer_id": id, "lease_token": "of-an-earlier-life"})] {
        client.register(&stale).await;
    }
}

pub async fn a_token_only_peer_becomes_an_ordinary_one_again_with_its_token(target: &Target) {
    let (client, id) = (Client::first(target), unique("peer"));
    let lease = register(&client, &id).await;
    client.post("/register", &with_token(&id, &lease)).await.ok();
    client.heartbeat(&id).await.ok();
    client.post("/deregister", &json!({ "peer_id": id }).to_string()).await.ok();
}
