//! The holder rule: which client may change a registration.

use serde_json::{Value, json};

use crate::client::{Client, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

fn token(fields: &Value) -> &str {
    fields["lease_token"].as_str().expect("a token")
}

pub async fn only_the_holder_can_replace_or_deregister_a_live_peer(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (holder, stranger, a) = (Client::first(target), Client::second(target), unique("a"));
    let id = unique("peer");
    let registration = json!({"peer_id": id, "archetypes": [a]});
    let lease = holder.register(&registration).await.ok();
    let with_wrong_token = json!({"peer_id": id, "lease_token": "guessed"});
    for body in [json!({ "peer_id": id }), with_wrong_token] {
        for path in ["/register", "/deregister"] {
            let sentence = stranger.post(path, &body.to_string()).await.refused(403, "not_holder", None);
            let until = sentence.split(' ').find(|word| word.len() == 19 && word.contains('T'));
            let until = naive_time(&json!(until.expect("the error says when the lease ends")));
            let ttl = lease["ttl_seconds"].as_i64().expect("whole seconds");
            assert!((0..=ttl / 3).contains(&(until - naive_time(&lease["ttl_expires"]))), "{sentence}");
        }
    }
    assert_eq!(holder.peers_with(&a).await, [id]);
}

pub async fn the_holder_is_identified_by_its_address(target: &Target) {
    let (holder, id) = (Client::second(target), unique("peer"));
    for _ in 0..2 {
        holder.register(&json!({"peer_id": id, "address": "10.0.0.1"})).await;
    }
    holder.post("/deregister", &json!({ "peer_id": id }).to_string()).await.ok();
}

pub async fn the_holder_is_identified_by_its_token(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (first, second, id) = (Client::first(target), Client::second(target), unique("peer"));
    let lease = first.register(&json!({ "peer_id": id })).await.ok();
    let proven = json!({"peer_id": id, "lease_token": token(&lease)});
    second.register(&proven).await;
    first.post("/register", &json!({ "peer_id": id }).to_string()).await.refused(403, "not_holder", None);
    first.post("/deregister", &proven.to_string()).await.ok();
}

pub async fn a_proven_token_stays_valid(target: &Target) {
    let (first, second, id) = (Client::first(target), Client::second(target), unique("peer"));
    let lease = first.register(&json!({ "peer_id": id })).await.ok();
    for client in [&first, &second, &first] {
        let again = client.register(&json!({"peer_id": id, "lease_token": token(&lease)})).await.ok();
        assert_eq!(token(&again), token(&lease));
    }
}

pub async fn a_holder_that_registers_without_its_token_gets_a_new_one(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (first, second, id) = (Client::first(target), Client::second(target), unique("peer"));
    let old = first.register(&json!({ "peer_id": id })).await.ok();
    let new = first.register(&json!({ "peer_id": id })).await.ok();
    assert_ne!(token(&old), token(&new));
    let with = |lease: &Value| json!({"peer_id": id, "lease_token": token(lease)}).to_string();
    second.post("/deregister", &with(&old)).await.refused(403, "not_holder", None);
    second.post("/deregister", &with(&new)).await.ok();
}
