//! Only the holder of a live peer may replace or deregister it. These tests check that the rule
//! does not affect the ordinary behaviour of legacy clients and other peers.

use serde_json::json;

use crate::support::Service;

const LEASE: u64 = 300;
/// The time after which a lease has surely expired. Some stores let a lease last up to a third
/// longer than the response states.
const LEASE_OVER: u64 = LEASE + LEASE / 3 + 1;
const HOME: &str = "203.0.113.7";
const AWAY: &str = "198.51.100.1";

#[tokio::test]
async fn a_laptop_that_changes_networks_stays_listed_by_its_heartbeats() {
    let service = Service::behind_a_proxy().await;
    service.client_at(HOME).register("laptop").await.ok();
    for _ in 0..45 {
        service.clock.advance(LEASE / 3);
        let renewed = service.client_at(AWAY).heartbeat("laptop").await.ok();
        assert_eq!(renewed["observed_address"], AWAY);
        assert_eq!(service.live().await, ["laptop"]);
    }
}

#[tokio::test]
async fn a_laptop_that_changes_networks_registers_again_with_its_token() {
    let service = Service::behind_a_proxy().await;
    let token = service.client_at(HOME).token("laptop").await;
    service.client_at(AWAY).register("laptop").await.refused(403, "not_holder", None);
    service.client_at(AWAY).post("/register", &json!({"peer_id": "laptop", "lease_token": token})).await.ok();
    assert_eq!(service.get("/discover").await.ok()["peers"][0]["address"], AWAY);
    service.client_at(AWAY).register("laptop").await.ok();
}

#[tokio::test]
async fn a_container_that_restarts_with_a_new_address_gets_its_name_when_the_lease_has_ended() {
    let service = Service::behind_a_proxy().await;
    service.client_at("198.51.100.1").register("container").await.ok();
    let restarted = service.client_at("198.51.100.200");
    restarted.register("container").await.refused(403, "not_holder", None);
    service.clock.advance(LEASE_OVER);
    restarted.register("container").await.ok();
}

#[tokio::test]
async fn a_container_that_restarts_with_an_old_token_at_its_address_is_not_locked_out() {
    let service = Service::behind_a_proxy().await;
    let old = service.client_at(HOME).token("container").await;
    service.client_at(HOME).register("container").await.ok();
    let restarted = json!({"peer_id": "container", "lease_token": old});
    service.client_at(HOME).post("/register", &restarted).await.ok();
}

#[tokio::test]
async fn heartbeats_count_as_proof_while_a_nat_varies_the_address_within_a_24() {
    let service = Service::behind_a_proxy().await;
    service.client_at(HOME).register("p").await.ok();
    for round in 0..60 {
        service.clock.advance(LEASE / 3);
        service.client_at(format!("203.0.113.{}", 1 + round % 50)).heartbeat("p").await.ok();
    }
    service.client_at(AWAY).register("p").await.refused(403, "not_holder", None);
}

#[tokio::test]
async fn agents_behind_one_address_may_change_each_others_registrations() {
    let service = Service::behind_a_proxy().await;
    for id in ["a", "b"] {
        service.client_at(HOME).register(id).await.ok();
        service.client_at(HOME).heartbeat(id).await.ok();
    }
    service.client_at(HOME).register("a").await.ok();
    service.client_at(HOME).deregister("b").await.ok();
    assert_eq!(service.live().await, ["a"]);
}

#[tokio::test]
async fn a_browser_peer_that_reloads_registers_again_without_its_token() {
    let service = Service::behind_a_proxy().await;
    let page = || service.client_at(HOME).on_page("https://app.example");
    for _ in 0..3 {
        page().register("tab").await.ok();
        service.clock.advance(LEASE / 3);
        page().heartbeat("tab").await.ok();
    }
    page().deregister("tab").await.ok();
}

#[tokio::test]
async fn a_host_of_500_agents_may_publish_an_address_that_it_does_not_come_from() {
    let service = Service::behind_a_proxy().await;
    let host = service.client_at(HOME);
    for n in 0..500 {
        let agent = json!({"peer_id": format!("agent{n}"), "address": AWAY, "port": 9_000 + n});
        host.post("/register", &agent).await.ok();
    }
    service.clock.advance(LEASE / 3);
    for first in (0..500).step_by(100) {
        let ids: Vec<_> = (first..first + 100).map(|n| format!("agent{n}")).collect();
        assert_eq!(host.post("/heartbeat", &json!({ "peer_ids": ids })).await.ok()["renewed"], 100);
    }
    service.clock.advance(LEASE_OVER);
    host.heartbeat("agent0").await.ok();
    assert_eq!(service.live().await, ["agent0"]);
}

#[tokio::test]
async fn a_peer_keeps_its_name_while_its_ipv6_privacy_addresses_change() {
    let service = Service::behind_a_proxy().await;
    service.client_at("2001:db8:1:2::a").register("p").await.ok();
    service.client_at("2001:db8:1:2:f00d::b").register("p").await.ok();
    for round in 0..60 {
        service.clock.advance(LEASE / 3);
        // In each round, the peer's home has another /64 in the same /48.
        service.client_at(format!("2001:db8:1:{round:x}::c")).heartbeat("p").await.ok();
    }
    service.client_at("2001:db8:2::a").register("p").await.refused(403, "not_holder", None);
    service.client_at("2001:db8:1:2::d").deregister("p").await.ok();
}

#[tokio::test]
async fn seventy_containers_in_different_homes_may_publish_one_private_address() {
    let service = Service::behind_a_proxy().await;
    let homes: Vec<_> =
        (0..70).map(|n| (format!("c{n}"), service.client_at(format!("203.0.{n}.7")))).collect();
    for (id, home) in &homes {
        let container = json!({"peer_id": id, "address": "172.17.0.2", "port": 9000});
        home.post("/register", &container).await.ok();
    }
    service.clock.advance(LEASE_OVER);
    assert_eq!(service.live().await, [""; 0]);
    for (id, home) in &homes {
        home.heartbeat(id).await.ok();
    }
    assert_eq!(service.live().await.len(), 70);
}
