//! Administration over HTTP.

use aurora_discovery_http::{KeyRing, Keys, Scopes, key_line};
use aurora_discovery_protocol::{
    Freshness, PeerId, RecordTerms, RegisterRequest, SecretKey, SignedRecord, SignedTokenHash,
};
use http::Method;
use serde_json::{Value, json};

use crate::support::{Response, Service, TestOptions};

const HOME: &str = "203.0.113.7";
const NEIGHBOUR: &str = "203.0.113.8";
const AWAY: &str = "198.51.100.1";
const POSTS: [&str; 3] = ["/admin/evict", "/admin/block", "/admin/unblock"];

/// Configures two API keys: `ops` may administer the service, and `w` may only write. The service
/// trusts one proxy, so that a test can send requests from any address.
pub(crate) fn with_operator(options: &mut TestOptions) {
    let lines = [("ops", "admin"), ("w", "write")]
        .map(|(key, scopes)| key_line(key, Scopes::parse(scopes).unwrap(), key));
    options.server.trusted_hops = 1;
    options.server.service.keys = Some(KeyRing::new(Keys::parse(&lines.join(";")).unwrap()));
}

impl Service {
    /// Sends a request with the API key `ops`.
    pub(crate) async fn admin(&self, path: &str, body: &Value) -> Response {
        let method = if path == "/admin/blocks" { Method::GET } else { Method::POST };
        self.request(method, path, &[("authorization", "Bearer ops")], &body.to_string()).await
    }
}

/// The body of a registration of `peer` that is signed with key number `by`.
fn record(service: &Service, peer: &str, by: u8) -> Value {
    let now = service.clock.now();
    let terms = RecordTerms {
        seq: now.as_millis(),
        freshness: Freshness::IssuedAt(now.as_secs()),
        token_hash: SignedTokenHash([7; 32]),
        audience: None,
        replaces: None,
    };
    let registration = RegisterRequest::new(PeerId::parse(peer).unwrap());
    let record = SignedRecord::sign(&registration, &terms, &SecretKey::from_random(&[by; 32])).unwrap();
    json!({ "signed": record.as_str() })
}

#[tokio::test]
async fn without_an_admin_key_the_service_has_no_administration() {
    let service = Service::start().await;
    for path in POSTS {
        service.post(path, r#"{"peer_id":"p"}"#).await.refused(404, "not_found", None);
        service.admin(path, &json!({"peer_id": "p"})).await.refused(404, "not_found", None);
        assert_eq!(service.request(Method::OPTIONS, path, &[], "").await.status, 204);
    }
    service.get("/admin/blocks").await.refused(404, "not_found", None);
}

#[tokio::test]
async fn administration_always_needs_a_key_with_its_scope() {
    let service = Service::with(with_operator).await;
    for path in POSTS {
        service.post(path, r#"{"peer_id":"p"}"#).await.refused(401, "unauthorized", None);
        let of_writer = [("x-api-key", "w")];
        let refused = service.request(Method::POST, path, &of_writer, r#"{"peer_id":"p"}"#).await;
        refused.refused(403, "forbidden", None);
        service.get(path).await.refused(405, "method_not_allowed", None);
    }
    service.get("/admin/blocks").await.refused(401, "unauthorized", None);
    service.post("/register", r#"{"peer_id":"p"}"#).await.ok();
}

#[tokio::test]
async fn an_operator_evicts_a_peer_and_its_name_is_free() {
    let service = Service::with(with_operator).await;
    let reserved = json!({"peer_id": "p", "token_only": true});
    service.client_at(HOME).post("/register", &reserved).await.ok();
    service.client_at(AWAY).register("p").await.refused(403, "not_holder", None);
    assert_eq!(service.admin("/admin/evict", &json!({"peer_id": "p"})).await.ok()["evicted"], 1);
    assert_eq!(service.admin("/admin/evict", &json!({"peer_id": "p"})).await.ok()["evicted"], 0);
    service.client_at(HOME).heartbeat("p").await.refused(404, "peer_not_registered", None);
    service.client_at(AWAY).register("p").await.ok();
}

#[tokio::test]
async fn a_blocked_peer_is_refused_until_the_block_ends() {
    let service = Service::with(with_operator).await;
    service.client_at(HOME).register("p").await.ok();
    let block = json!({"peer_id": "p", "reason": "spam", "duration_seconds": 600});
    assert_eq!(service.admin("/admin/block", &block).await.ok()["evicted"], 1);
    assert_eq!(service.live().await, [""; 0]);
    service.client_at(HOME).register("p").await.refused(403, "blocked", None);
    service.client_at(HOME).heartbeat("p").await.refused(403, "blocked", None);
    service.client_at(HOME).register("q").await.ok();
    let many = service.client_at(HOME).post("/heartbeat", &json!({"peer_ids": ["q", "p", "x"]})).await.ok();
    let codes: Vec<_> = many["results"].as_array().unwrap().iter().map(|one| one["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("blocked"), Some("peer_not_registered")]);
    service.clock.advance(599);
    service.client_at(HOME).register("p").await.refused(403, "blocked", None);
    service.clock.advance(1);
    service.client_at(HOME).register("p").await.ok();
    assert_eq!(service.admin("/admin/blocks", &Value::Null).await.ok()["count"], 0);
}

#[tokio::test]
async fn blocks_are_listed_replaced_and_ended() {
    let service = Service::with(with_operator).await;
    for (subject, value, seconds) in
        [("peer_id", "p", 600), ("source", "10.0.0.0/8", 300), ("peer_id", "p", 100)]
    {
        let block = json!({subject: value, "reason": "two words", "duration_seconds": seconds});
        service.admin("/admin/block", &block).await.ok();
    }
    let listed = service.admin("/admin/blocks", &Value::Null).await.ok();
    let expected = json!([
        {"peer_id": "p", "reason": "two words", "expires_in_seconds": 100, "blocked_by": "ops"},
        {"source": "10.0.0.0/8", "reason": "two words", "expires_in_seconds": 300, "blocked_by": "ops"},
    ]);
    assert_eq!((&listed["blocks"], &listed["count"]), (&expected, &json!(2)));
    service.admin("/admin/unblock", &json!({"peer_id": "p"})).await.ok();
    service.admin("/admin/unblock", &json!({"peer_id": "p"})).await.refused(404, "not_found", None);
    service.client_at(HOME).register("p").await.ok();
}

#[tokio::test]
async fn a_blocked_source_can_neither_register_nor_renew() {
    let service = Service::with(with_operator).await;
    for (address, id) in [(HOME, "p"), (NEIGHBOUR, "n"), (AWAY, "a")] {
        service.client_at(address).register(id).await.ok();
    }
    let block = json!({"source": "203.0.113.0/24", "reason": "flood", "duration_seconds": 60});
    assert_eq!(service.admin("/admin/block", &block).await.ok()["evicted"], 2);
    assert_eq!(service.live().await, ["a"]);
    service.client_at(NEIGHBOUR).register("other").await.refused(403, "blocked", None);
    service.client_at(HOME).heartbeat("a").await.refused(403, "blocked", None);
    service.client_at(AWAY).heartbeat("a").await.ok();
    service.client_at(AWAY).register("p").await.ok();
    let inside = [("x-forwarded-for", HOME), ("authorization", "Bearer ops")];
    let unblock = r#"{"source":"203.0.113.0/24"}"#;
    service.request(Method::POST, "/admin/unblock", &inside, unblock).await.ok();
    service.client_at(HOME).register("other").await.ok();
}

#[tokio::test]
async fn a_blocked_key_can_not_register_and_other_keys_may_take_its_names() {
    let service = Service::with(with_operator).await;
    let key = SecretKey::from_random(&[1; 32]).public().to_string();
    service.client_at(HOME).post("/register", &record(&service, "p", 1)).await.ok();
    let block = json!({"key": key, "reason": "stolen", "duration_seconds": 60});
    assert_eq!(service.admin("/admin/block", &block).await.ok()["evicted"], 1);
    for name in ["p", "q", &key] {
        service
            .client_at(AWAY)
            .post("/register", &record(&service, name, 1))
            .await
            .refused(403, "blocked", None);
    }
    service.client_at(AWAY).post("/register", &record(&service, "p", 2)).await.ok();
}

#[tokio::test]
async fn an_invalid_subject_or_block_is_refused_with_the_field_at_fault() {
    let service = Service::with(with_operator).await;
    for (body, code, field) in [
        (json!({}), "invalid_body", None),
        (json!({"peer_id": "p", "source": "10.0.0.0/8"}), "invalid_body", None),
        (json!({"source": "10.0.0.1/8"}), "invalid_field", Some("source")),
        (json!({"key": "alice"}), "invalid_field", Some("key")),
    ] {
        for path in ["/admin/evict", "/admin/unblock"] {
            service.admin(path, &body).await.refused(400, code, field);
        }
    }
    let endless = json!({"peer_id": "p", "reason": "spam"});
    service.admin("/admin/block", &endless).await.refused(400, "invalid_field", Some("duration_seconds"));
}

#[tokio::test]
async fn a_full_block_list_refuses_further_blocks() {
    let service = Service::with(with_operator).await;
    let reason = "x".repeat(200);
    let mut refused = None;
    for number in 0..1_000 {
        let block = json!({"peer_id": format!("p{number}"), "reason": reason, "duration_seconds": 60});
        let response = service.admin("/admin/block", &block).await;
        if response.status != 200 {
            refused = Some(response);
            break;
        }
    }
    refused.unwrap().refused(503, "registry_full", None);
    service.admin("/admin/unblock", &json!({"peer_id": "p0"})).await.ok();
    let again = json!({"peer_id": "again", "reason": "short", "duration_seconds": 60});
    service.admin("/admin/block", &again).await.ok();
}
