//! The states of a peer, on services whose clock a case can advance.

use serde_json::json;

use crate::client::{Client, unique};
use crate::heartbeat::interval;
use crate::token_only::{self, with_token};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs { settable_clock: true, ..Needs::NONE };
const DAY: u64 = 24 * 3_600;

pub async fn a_lease_expires_without_heartbeats_and_a_heartbeat_revives_the_peer(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(1, &[&a]).await;
    target.advance_clock(290);
    assert_eq!(client.peers_with(&a).await, ids);
    target.advance_clock(120);
    assert_eq!(client.peers_with(&a).await, [""; 0]);
    target.advance_clock(8 * 3_600);
    client.heartbeat(&ids[0]).await.ok();
    assert_eq!(client.peers_with(&a).await, ids);
    let all = client.get("/discover").await.ok();
    assert_eq!(all["peers"][0]["last_seen"], all["timestamp"]);
}

pub async fn any_client_can_replace_a_dormant_peer(target: &Target) {
    let id = &Client::first(target).register_many(1, &[]).await[0];
    target.advance_clock(410);
    Client::second(target).register(&json!({ "peer_id": id })).await;
    let body = json!({ "peer_id": id }).to_string();
    Client::first(target).post("/register", &body).await.refused(403, "not_holder", None);
}

pub async fn deregistering_a_dormant_peer_needs_proof(target: &Target) {
    let (owner, stranger) = (Client::first(target), Client::second(target));
    let ids = owner.register_many(2, &[]).await;
    let lease = owner.register(&json!({"peer_id": ids[1]})).await.ok();
    target.advance_clock(410);
    for id in &ids {
        let body = json!({ "peer_id": id }).to_string();
        stranger.post("/deregister", &body).await.refused(403, "not_holder", None);
    }
    owner.post("/deregister", &json!({"peer_id": ids[0]}).to_string()).await.ok();
    stranger.post("/deregister", &with_token(&ids[1], &lease)).await.ok();
    for id in &ids {
        owner.heartbeat(id).await.refused(404, "peer_not_registered", None);
    }
}

pub async fn a_token_only_name_stays_reserved_for_three_leases(target: &Target) {
    let (owner, stranger, id) = (Client::first(target), Client::second(target), unique("peer"));
    let lease = token_only::register(&owner, &id).await;
    // The lease ends 300 to 400 s after the registration. The name stays reserved for three more
    // lease durations of 300 s, until 1,200 to 1,300 s. The requests are sent at 410, 1,010 and
    // 1,190 s, while it is reserved.
    for seconds in [410, 600, 180] {
        target.advance_clock(seconds);
        for path in ["/register", "/deregister", "/heartbeat"] {
            stranger.post(path, &json!({ "peer_id": id }).to_string()).await.refused(403, "not_holder", None);
        }
    }
    stranger.post("/heartbeat", &with_token(&id, &lease)).await.ok();
    target.advance_clock(1_310);
    stranger.register(&json!({ "peer_id": id })).await;
}

pub async fn a_dormant_peer_is_unknown_after_the_revival_window(target: &Target) {
    let client = Client::first(target);
    let ids = client.register_many(2, &[]).await;
    target.advance_clock(DAY);
    client.heartbeat(&ids[0]).await.ok();
    target.advance_clock(410);
    client.heartbeat(&ids[1]).await.refused(404, "peer_not_registered", None);
    client.heartbeat(&ids[0]).await.ok();
}

pub async fn a_steady_peer_gets_longer_intervals_and_may_miss_one_heartbeat(target: &Target) {
    let (client, a) = (Client::first(target), unique("a"));
    let ids = client.register_many(1, &[&a]).await;
    for _ in 0..8 {
        target.advance_clock(100);
        assert!((80..=100).contains(&interval(&client.heartbeat(&ids[0]).await.ok())));
    }
    target.advance_clock(100);
    for _ in 0..10 {
        let seconds = interval(&client.heartbeat(&ids[0]).await.ok());
        assert!((120..=149).contains(&seconds), "{seconds}");
        target.advance_clock(2 * seconds);
        assert_eq!(client.peers_with(&a).await, ids);
    }
    target.advance_clock(410);
    let revived = client.heartbeat(&ids[0]).await.ok();
    assert!((80..=100).contains(&interval(&revived)), "a revived peer is not steady");
}
