//! `POST /deregister`

use serde_json::json;

use crate::client::{Client, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_deregistered_peer_is_removed_at_once(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let id = &client.register_many(1, &[&a]).await[0];
    let body = json!({ "peer_id": id }).to_string();
    let fields = client.post("/deregister", &body).await.ok();
    assert_eq!(fields, json!({"message": "Peer deregistered", "peer_id": id}));
    assert_eq!(client.peers_with(&a).await, [""; 0]);
    client.heartbeat(id).await.refused(404, "peer_not_registered", None);
    client.post("/deregister", &body).await.refused(404, "peer_not_registered", None);
}

pub async fn an_unknown_peer_can_not_be_deregistered(target: &Target) {
    let body = json!({"peer_id": unique("unknown")}).to_string();
    Client::first(target).post("/deregister", &body).await.refused(404, "peer_not_registered", None);
}
