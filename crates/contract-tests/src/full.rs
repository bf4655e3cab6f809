//! A registry that has reached its maximum number of peers.

use serde_json::json;

use crate::caller::{Caller, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs { max_peers: Some(3), ..Needs::NONE };

pub async fn a_full_registry_refuses_newcomers_never_members(target: &Target) {
    let caller = Caller::home(target);
    let members = caller.fill(3, &[]).await;
    let newcomer = json!({"peer_id": unique("newcomer")});
    let response = caller.post("/register", &newcomer.to_string()).await;
    response.refused(503, "registry_full", None);
    let retry_after: u32 =
        response.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!(retry_after >= 1);
    assert_eq!(response.header("access-control-allow-origin"), target.cors.then_some("*"));
    for member in &members {
        caller.heartbeat(member).await.ok();
        caller.register(&json!({"peer_id": member, "port": 1})).await;
    }
    assert_eq!(caller.get("/discover").await.ids(), members);
    caller.get("/health").await.ok();
    caller.post("/deregister", &json!({"peer_id": members[0]}).to_string()).await.ok();
    caller.register(&newcomer).await;
}
