//! The holder rule: who may change a registration.

use serde_json::{Value, json};

use crate::caller::{Caller, naive_time, unique};
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs::NONE;

fn token(answer: &Value) -> &str {
    answer["lease_token"].as_str().expect("a token")
}

pub async fn a_stranger_can_neither_replace_nor_deregister_a_live_peer(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (holder, stranger, a) = (Caller::home(target), Caller::elsewhere(target), unique("a"));
    let id = unique("peer");
    let mine = json!({"peer_id": id, "archetypes": [a]});
    let lease = holder.register(&mine).await.ok();
    let with_wrong_token = json!({"peer_id": id, "lease_token": "guessed"});
    for body in [json!({ "peer_id": id }), with_wrong_token] {
        for path in ["/register", "/deregister"] {
            let sentence = stranger.post(path, &body.to_string()).await.refused(403, "not_holder", None);
            let until = sentence.split(' ').find(|word| word.len() == 19 && word.contains('T'));
            let until = naive_time(&json!(until.expect("it says when the lease ends")));
            let ttl = lease["ttl_seconds"].as_i64().expect("whole seconds");
            assert!((0..=ttl / 3).contains(&(until - naive_time(&lease["ttl_expires"]))), "{sentence}");
        }
    }
    assert_eq!(holder.carriers(&a).await, [id]);
}

pub async fn the_holder_is_known_by_its_address(target: &Target) {
    let (holder, id) = (Caller::elsewhere(target), unique("peer"));
    for _ in 0..2 {
        holder.register(&json!({"peer_id": id, "address": "10.0.0.1"})).await;
    }
    holder.post("/deregister", &json!({ "peer_id": id }).to_string()).await.ok();
}

pub async fn the_holder_is_known_by_its_token(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (home, away, id) = (Caller::home(target), Caller::elsewhere(target), unique("peer"));
    let lease = home.register(&json!({ "peer_id": id })).await.ok();
    let proven = json!({"peer_id": id, "lease_token": token(&lease)});
    away.register(&proven).await;
    home.post("/register", &json!({ "peer_id": id }).to_string()).await.refused(403, "not_holder", None);
    home.post("/deregister", &proven.to_string()).await.ok();
}

pub async fn a_token_that_was_proven_goes_on(target: &Target) {
    let (home, away, id) = (Caller::home(target), Caller::elsewhere(target), unique("peer"));
    let lease = home.register(&json!({ "peer_id": id })).await.ok();
    for caller in [&home, &away, &home] {
        let again = caller.register(&json!({"peer_id": id, "lease_token": token(&lease)})).await.ok();
        assert_eq!(token(&again), token(&lease));
    }
}

pub async fn without_its_token_the_holder_gets_a_new_one(target: &Target) {
    if !target.sees_sources {
        return;
    }
    let (home, away, id) = (Caller::home(target), Caller::elsewhere(target), unique("peer"));
    let first = home.register(&json!({ "peer_id": id })).await.ok();
    let second = home.register(&json!({ "peer_id": id })).await.ok();
    assert_ne!(token(&first), token(&second));
    let with = |lease: &Value| json!({"peer_id": id, "lease_token": token(lease)}).to_string();
    away.post("/deregister", &with(&first)).await.refused(403, "not_holder", None);
    away.post("/deregister", &with(&second)).await.ok();
}
