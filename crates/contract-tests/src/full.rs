//! A registry that has reached its maximum number of peers.

use serde_json::json;

use crate::client::{Client, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs { max_peers: Some(3), ..Needs::NONE };

pub async fn a_full_registry_rejects_newcomers_but_never_members(target: &Target) {
    let client = Client::first(target);
    let members = client.register_many(3, &[]).await;
    let newcomer = json!({"peer_id": unique("newcomer")});
    let response = client.post("/register", &newcomer.to_string()).await;
    response.refused(503, "registry_full", None);
    let retry_after: u32 =
        response.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    assert!(retry_after >= 1);
    assert_eq!(response.header("access-control-allow-origin"), target.cors.then_some("*"));
    for member in &members {
        client.heartbeat(member).await.ok();
        client.register(&json!({"peer_id": member, "port": 1})).await;
    }
    assert_eq!(client.get("/discover").await.ids(), members);
    client.get("/health").await.ok();
    client.post("/deregister", &json!({"peer_id": members[0]}).to_string()).await.ok();
    client.register(&newcomer).await;
}
