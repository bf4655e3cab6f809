//! Attacks that must fail: clients that try to take names of other peers, to keep others from
//! registering, or to fill the registry. The services have small limits.

use std::net::Ipv6Addr;

use aurora_discovery_registry::Limits;
use serde_json::{Value, json};

use crate::support::Service;

const LEASE: u64 = 300;
/// The time after which a lease has surely expired. Some stores let a lease last up to a third
/// longer than the response states.
const LEASE_OVER: u64 = LEASE + LEASE / 3 + 1;
const OWNER: &str = "203.0.113.7";
const STRANGER: &str = "198.51.100.1";

async fn within(limits: Limits) -> Service {
    Service::with(|options| {
        options.limits = limits;
        options.server.trusted_hops = 1;
    })
    .await
}

#[tokio::test]
async fn a_stranger_can_not_keep_a_name_from_its_owner_by_heartbeats() {
    let service = Service::behind_a_proxy().await;
    service.client_at(OWNER).register("name").await.ok();
    for _ in 0..35 {
        service.clock.advance(LEASE / 3);
        service.client_at(STRANGER).heartbeat("name").await.ok();
    }
    // The owner registers from another network without its token, so it can't prove that it is the
    // holder of the name. Such a registration is accepted only 12 leases after the holder's last
    // proof. The stranger's heartbeats do not count as proof.
    let moved = service.client_at("192.0.2.9");
    moved.register("name").await.refused(403, "not_holder", None);
    service.clock.advance(LEASE / 3);
    service.client_at(STRANGER).heartbeat("name").await.ok();
    moved.register("name").await.ok();
}

#[tokio::test]
async fn one_source_can_not_keep_a_registry_full_of_abandoned_peers_alive() {
    let service = within(Limits { max_peers: 40, max_peers_per_source: 10, ..Limits::default() }).await;
    let ids: Vec<_> = (0..40).map(|n| format!("dead{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        service.client_at(format!("203.0.{n}.7")).register(id).await.ok();
    }
    let stranger = service.client_at(STRANGER);
    for _ in 0..6 {
        service.clock.advance(LEASE / 3);
        let fields = stranger.post("/heartbeat", &json!({ "peer_ids": ids })).await.ok();
        assert_eq!(fields["renewed"], 10);
        let refused: Vec<_> = fields["results"].as_array().unwrap().iter().skip(10).collect();
        assert!(refused.iter().all(|result| ["rate_limited", "peer_not_registered"].contains(&code(result))));
        assert!(refused[0]["error"].as_str().unwrap().contains("lease_token"));
    }
    let refused = stranger.heartbeat("dead39").await;
    refused.refused(429, "rate_limited", None);
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    for n in 0..30 {
        service.client_at(format!("192.0.{n}.9")).register(&format!("newcomer{n}")).await.ok();
    }
    assert_eq!(service.live().await.len(), 40);
}

fn code(result: &Value) -> &str {
    result["code"].as_str().unwrap()
}

#[tokio::test]
async fn the_owners_of_peers_that_a_stranger_keeps_alive_are_never_refused() {
    let service = within(Limits { max_peers_per_source: 1, ..Limits::default() }).await;
    for n in 0..5 {
        service.client_at(format!("203.0.{n}.7")).register(&format!("p{n}")).await.ok();
    }
    for round in 0..9 {
        service.clock.advance(LEASE / 3);
        service.client_at(STRANGER).heartbeat(&format!("p{}", round % 5)).await;
        for n in 0..5 {
            service.client_at(format!("203.0.{n}.8")).heartbeat(&format!("p{n}")).await.ok();
        }
    }
}

#[tokio::test]
async fn a_stranger_can_neither_replace_nor_deregister_a_dormant_token_only_peer() {
    let service = Service::behind_a_proxy().await;
    let body = json!({"peer_id": "name", "token_only": true});
    let token = service.client_at(OWNER).post("/register", &body).await.ok()["lease_token"].clone();
    service.clock.advance(LEASE_OVER);
    // For a token-only peer, another client at the owner's address is a stranger too.
    for stranger in [service.client_at(STRANGER), service.client_at(OWNER)] {
        for path in ["/register", "/heartbeat", "/deregister"] {
            for body in
                [json!({"peer_id": "name"}), body.clone(), json!({"peer_id": "name", "lease_token": "x"})]
            {
                stranger.post(path, &body).await.refused(403, "not_holder", None);
            }
        }
    }
    service.clock.advance(2 * LEASE);
    let with_token = json!({"peer_id": "name", "lease_token": token});
    service.client_at("192.0.2.9").post("/heartbeat", &with_token).await.ok();
    assert_eq!(service.live().await, ["name"]);
}

#[tokio::test]
async fn a_web_page_can_not_change_the_peers_of_its_visitor() {
    let service = Service::behind_a_proxy().await;
    service.client_at(OWNER).register("program").await.ok();
    service.client_at(OWNER).on_page("https://app.example").register("tab").await.ok();
    for origin in ["https://evil.example", "null", "http://app.example", "https://app.example:8443"] {
        let page = || service.client_at(OWNER).on_page(origin);
        for id in ["program", "tab"] {
            page().register(id).await.refused(403, "not_holder", None);
            page().deregister(id).await.refused(403, "not_holder", None);
        }
    }
    // Heartbeats from another page don't count as proof. After 12 leases without proof, anyone may
    // replace the peer.
    for _ in 0..36 {
        service.clock.advance(LEASE / 3);
        service.client_at(OWNER).on_page("https://evil.example").heartbeat("program").await.ok();
    }
    service.client_at("192.0.2.9").register("program").await.ok();
}

fn metadata(bytes: usize) -> Value {
    json!({"x": "y".repeat(bytes)})
}

#[tokio::test]
async fn registered_peers_can_not_grow_the_registry_beyond_its_maximum_size() {
    let service = within(Limits { max_bytes: 40_000, ..Limits::default() }).await;
    let host = service.client_at(OWNER);
    let large = |n: usize| json!({"peer_id": format!("p{n}"), "metadata": metadata(4_000)});
    for n in 0..40 {
        host.register(&format!("p{n}")).await.ok();
    }
    let mut grown = 0;
    for n in 0..40 {
        let response = host.post("/register", &large(n)).await;
        if response.status == 200 {
            grown += 1;
        } else {
            response.refused(503, "registry_full", None);
            assert!(response.json()["error"].as_str().unwrap().contains("total size"), "{response:?}");
        }
    }
    assert!((1..10).contains(&grown), "{grown} peers of 4 kB in 40 kB");
    // Although the registry is full, a large registration can be replaced by one of the same size
    // or smaller.
    host.post("/register", &large(0)).await.ok();
    for n in 0..40 {
        host.heartbeat(&format!("p{n}")).await.ok();
        host.register(&format!("p{n}")).await.ok();
    }
    assert_eq!(service.live().await.len(), 40);
}

#[tokio::test]
async fn registered_peers_can_not_add_archetypes_beyond_the_maximum_number() {
    let service = within(Limits { max_archetypes: 4, ..Limits::default() }).await;
    let host = service.client_at(OWNER);
    for id in ["a", "b", "c", "d"] {
        host.post("/register", &json!({"peer_id": id, "archetypes": [id]})).await.ok();
    }
    for id in ["a", "newcomer"] {
        let response = host.post("/register", &json!({"peer_id": id, "archetypes": ["a", "new"]})).await;
        response.refused(503, "registry_full", None);
        assert!(response.json()["error"].as_str().unwrap().contains("archetypes"), "{response:?}");
    }
    host.post("/register", &json!({"peer_id": "a", "archetypes": ["a", "b"]})).await.ok();
    host.post("/register", &json!({"peer_id": "e", "archetypes": ["a"]})).await.ok();
    host.register("f").await.ok();
}

#[tokio::test]
async fn a_source_can_revive_at_most_twice_as_many_peers_as_its_bound() {
    let service = within(Limits { max_peers_per_source: 4, ..Limits::default() }).await;
    let host = service.client_at(OWNER);
    for round in 0..6 {
        for n in 0..4 {
            host.register(&format!("p{round}-{n}")).await.ok();
        }
        host.register("further").await.refused(503, "registry_full", None);
        service.clock.advance(LEASE_OVER);
    }
    let mut revived = 0;
    for round in 0..6 {
        for n in 0..4 {
            let response = host.heartbeat(&format!("p{round}-{n}")).await;
            revived += usize::from(response.status == 200);
            assert!([200, 404].contains(&response.status.as_u16()), "a revival is never refused for a bound");
        }
    }
    assert_eq!(revived, 8, "live and dormant peers together may be twice the bound");
    host.register("further").await.refused(503, "registry_full", None);
}

#[tokio::test]
async fn one_host_with_an_ipv6_48_can_not_fill_the_registry() {
    let limits = Limits {
        max_peers_per_source: 4,
        max_peers_per_network: 8,
        max_peers_per_site: 20,
        ..Limits::default()
    };
    let service = within(limits).await;
    let mut accepted = 0;
    for subnet in 0..48_u16 {
        // A /56 has 256 subnets of /64. The subnets here have numbers 64 apart, so each group of
        // four is in a /56 of its own.
        let address = Ipv6Addr::new(0x2001, 0xdb8, 1, subnet * 64, 0, 0, 0, 1);
        for n in 0..5 {
            let response = service.client_at(address.to_string()).register(&format!("p{subnet}-{n}")).await;
            accepted += u32::from(response.status == 200);
        }
    }
    assert_eq!(accepted, 20);
    let refused = service.client_at("2001:db8:1:ffff::1").register("further").await;
    refused.refused(503, "registry_full", None);
    assert!(refused.json()["error"].as_str().unwrap().contains("IPv6 /48"), "{refused:?}");
    service.client_at("2001:db8:2::1").register("neighbour").await.ok();
}

#[tokio::test]
async fn the_sources_of_one_network_together_can_not_exceed_its_bound() {
    let limits = Limits { max_peers_per_source: 4, max_peers_per_network: 8, ..Limits::default() };
    let service = within(limits).await;
    let mut accepted = 0;
    for n in 0..16 {
        let response = service.client_at(format!("203.0.113.{n}")).register(&format!("p{n}")).await;
        accepted += u32::from(response.status == 200);
    }
    assert_eq!(accepted, 8);
    service.client_at("203.0.114.1").register("neighbour").await.ok();
}

#[tokio::test]
async fn one_source_that_publishes_a_victims_address_can_not_keep_the_victim_from_registering() {
    let limits = Limits { max_peers_per_address: 8, max_peers_per_host: 16, ..Limits::default() };
    let service = within(limits).await;
    let mut accepted = 0;
    for n in 0..40 {
        let body = json!({"peer_id": format!("s{n}"), "address": OWNER, "port": 9_000 + n % 5});
        accepted += u32::from(service.client_at(STRANGER).post("/register", &body).await.status == 200);
    }
    assert_eq!(accepted, 8, "one source may use up half of the bound of an address");
    let victim = json!({"peer_id": "victim", "address": OWNER, "port": 9000});
    service.client_at(OWNER).post("/register", &victim).await.ok();
    service.clock.advance(LEASE_OVER);
    service.client_at(OWNER).heartbeat("victim").await.ok();
}
