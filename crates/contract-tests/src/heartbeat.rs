//! `POST /heartbeat`

use serde_json::json;

use crate::caller::{Caller, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

pub async fn a_heartbeat_is_answered_with_the_lease(target: &Target) {
    let caller = Caller::home(target);
    let id = &caller.fill(1, &[]).await[0];
    let reply = caller.heartbeat(id).await;
    let keys =
        ["heartbeat_interval_seconds", "message", "peer_id", "timestamp", "ttl_expires", "ttl_seconds"];
    assert_eq!(reply.keys(), keys);
    let answer = reply.ok();
    let lease = naive_time(&answer["ttl_expires"]) - naive_time(&answer["timestamp"]);
    assert_eq!(Some(lease), answer["ttl_seconds"].as_i64());
}

pub async fn a_heartbeat_keeps_the_duration_that_was_granted(target: &Target) {
    let (caller, id) = (Caller::home(target), unique("peer"));
    caller.register(&json!({"peer_id": id, "ttl_seconds": 45})).await;
    let answer = caller.heartbeat(&id).await.ok();
    assert_eq!((&answer["ttl_seconds"], &answer["heartbeat_interval_seconds"]), (&json!(45), &json!(15)));
}

pub async fn a_heartbeat_never_creates_a_peer(target: &Target) {
    let (caller, id) = (Caller::home(target), unique("nobody"));
    for _ in 0..2 {
        caller.heartbeat(&id).await.refused(404, "peer_not_registered", None);
    }
    assert!(!caller.get("/discover").await.ids().contains(&id));
}

pub async fn a_heartbeat_may_come_from_any_address(target: &Target) {
    let id = &Caller::home(target).fill(1, &[]).await[0];
    Caller::elsewhere(target).heartbeat(id).await.ok();
}
