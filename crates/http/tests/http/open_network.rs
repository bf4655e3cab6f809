//! Settings for operators of networks that any client may join.

use aurora_discovery_protocol::{DiscoverBounds, Order};
use aurora_discovery_registry::{AddressPolicy, Limits};
use serde_json::{Value, json};

use crate::support::Service;

async fn within(limits: Limits) -> Service {
    Service::with(|options| {
        options.limits = limits;
        options.server.trusted_hops = 1;
    })
    .await
}

/// A service with 200 peers of an attacker in one IPv4 /16, and twenty honest peers, each in a /16
/// of its own.
async fn attacked(limits: Limits) -> Service {
    let service = within(limits).await;
    for n in 0..200 {
        let crowd = service.client_at(format!("203.0.{}.7", n % 100));
        crowd.register(&format!("attacker{n}")).await.ok();
    }
    for n in 0..20 {
        service.client_at(format!("198.{n}.100.1")).register(&format!("honest{n}")).await.ok();
    }
    service
}

fn honest(page: &Value) -> usize {
    let peers = page["peers"].as_array().unwrap();
    peers.iter().filter(|peer| peer["peer_id"].as_str().unwrap().starts_with("honest")).count()
}

#[tokio::test]
async fn an_attackers_network_gets_one_place_in_half_of_a_diverse_sample() {
    let service = attacked(Limits::default()).await;
    for _ in 0..50 {
        let page = service.get("/discover?order=diverse&limit=10").await.ok();
        assert_eq!((&page["count"], &page["total"]), (&json!(10), &json!(220)));
        assert!(honest(&page) >= 4, "{page}");
    }
}

#[tokio::test]
async fn an_operator_can_make_diverse_samples_the_default() {
    let defaults = Limits::default();
    let limits = Limits {
        discover: DiscoverBounds { order: Order::Diverse, ..defaults.discover },
        inline_discover: DiscoverBounds { order: Order::Diverse, ..defaults.inline_discover },
        ..defaults
    };
    let service = attacked(limits).await;
    let caller = service.client_at("198.3.100.1");
    let mut of_uniform = 0;
    for _ in 0..50 {
        assert!(honest(&service.get("/discover?limit=10").await.ok()) >= 4);
        let riding = json!({"peer_id": "honest3", "discover": {"limit": 10, "exclude": "honest3"}});
        assert!(honest(&caller.post("/heartbeat", &riding).await.ok()) >= 4);
        of_uniform += honest(&service.get("/discover?limit=10&order=sample").await.ok());
        assert_eq!(service.get("/discover?limit=10&order=all").await.ok()["count"], 10);
    }
    // One peer in eleven is honest, so 50 uniform samples of ten have about 45 honest peers.
    // Diverse samples would have at least 200.
    assert!(of_uniform < 150, "{of_uniform}");
}

#[tokio::test]
async fn an_operator_can_refuse_addresses_that_are_not_public() {
    let service = within(Limits { addresses: AddressPolicy::Public, ..Limits::default() }).await;
    let inside = service.client_at("10.0.0.7");
    inside.register("p").await.refused(400, "invalid_field", Some("address"));
    for address in ["10.0.0.7", "printer.local", "203.0.113.7"] {
        let refused = inside.post("/register", &json!({"peer_id": "p", "address": address})).await;
        refused.refused(400, "invalid_field", Some("address"));
    }
    assert!(service.live().await.is_empty());
    inside.post("/register", &json!({"peer_id": "p", "address": "8.8.8.8"})).await.ok();
    service.client_at("9.9.9.9").register("q").await.ok();
    assert_eq!(service.live().await, ["p", "q"]);
}

#[tokio::test]
async fn an_operator_can_list_the_observed_address_whatever_a_peer_publishes() {
    let service = within(Limits { addresses: AddressPolicy::Observed, ..Limits::default() }).await;
    let peer = service.client_at("198.51.100.1");
    let registered =
        peer.post("/register", &json!({"peer_id": "p", "address": "203.0.113.7", "port": 80})).await;
    assert_eq!(registered.ok()["observed_address"], "198.51.100.1");
    let listed = &service.get("/discover").await.ok()["peers"][0];
    assert_eq!((&listed["address"], &listed["port"]), (&json!("198.51.100.1"), &json!(80)));
}
