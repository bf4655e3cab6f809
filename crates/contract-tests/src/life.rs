//! The states of a peer, on services whose clock a case can advance.

use serde_json::json;

use crate::caller::{Caller, unique};
use crate::heartbeat::interval;
use crate::{Needs, Target};

pub const NEEDS: Needs = Needs { winding: true, ..Needs::NONE };
const DAY: u64 = 24 * 3_600;

pub async fn a_lease_ends_in_silence_and_a_heartbeat_revives(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(1, &[&a]).await;
    target.pass(290);
    assert_eq!(caller.carriers(&a).await, ids);
    target.pass(120);
    assert_eq!(caller.carriers(&a).await, [""; 0]);
    target.pass(8 * 3_600);
    caller.heartbeat(&ids[0]).await.ok();
    assert_eq!(caller.carriers(&a).await, ids);
    let all = caller.get("/discover").await.ok();
    assert_eq!(all["peers"][0]["last_seen"], all["timestamp"]);
}

pub async fn anyone_may_replace_a_dormant_peer(target: &Target) {
    let id = &Caller::home(target).fill(1, &[]).await[0];
    target.pass(410);
    Caller::elsewhere(target).register(&json!({ "peer_id": id })).await;
    let body = json!({ "peer_id": id }).to_string();
    Caller::home(target).post("/register", &body).await.refused(403, "not_holder", None);
}

pub async fn after_the_revival_window_a_peer_is_unknown(target: &Target) {
    let caller = Caller::home(target);
    let ids = caller.fill(2, &[]).await;
    target.pass(DAY);
    caller.heartbeat(&ids[0]).await.ok();
    target.pass(410);
    caller.heartbeat(&ids[1]).await.refused(404, "peer_not_registered", None);
    caller.heartbeat(&ids[0]).await.ok();
}

pub async fn a_steady_peer_is_asked_less_often_and_may_miss_one_heartbeat(target: &Target) {
    let (caller, a) = (Caller::home(target), unique("a"));
    let ids = caller.fill(1, &[&a]).await;
    for _ in 0..8 {
        target.pass(100);
        assert!((80..=100).contains(&interval(&caller.heartbeat(&ids[0]).await.ok())));
    }
    target.pass(100);
    for _ in 0..10 {
        let wanted = interval(&caller.heartbeat(&ids[0]).await.ok());
        assert!((120..=149).contains(&wanted), "{wanted}");
        target.pass(2 * wanted);
        assert_eq!(caller.carriers(&a).await, ids);
    }
    target.pass(410);
    let revived = caller.heartbeat(&ids[0]).await.ok();
    assert!((80..=100).contains(&interval(&revived)), "who was away is not steady");
}
