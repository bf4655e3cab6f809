//! `POST /deregister`

use serde_json::json;

use crate::caller::{Caller, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_deregistered_peer_is_gone(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let id = &caller.fill(1, &[&a]).await[0];
    let body = json!({ "peer_id": id }).to_string();
    let answer = caller.post("/deregister", &body).await.ok();
    assert_eq!(answer, json!({"message": "Peer deregistered", "peer_id": id}));
    assert_eq!(caller.carriers(&a).await, [""; 0]);
    caller.heartbeat(id).await.refused(404, "peer_not_registered", None);
    caller.post("/deregister", &body).await.refused(404, "peer_not_registered", None);
}

pub async fn a_peer_that_is_not_there_cannot_be_deregistered(target: &Target) {
    let body = json!({"peer_id": unique("nobody")}).to_string();
    Caller::home(target).post("/deregister", &body).await.refused(404, "peer_not_registered", None);
}
