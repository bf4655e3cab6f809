//! Signed registrations over HTTP.

use aurora_discovery_protocol::{
    Freshness, PeerId, RecordTerms, RegisterRequest, SecretKey, SignedRecord, SignedTokenHash, Timestamp,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::Service;

const HOME: &str = "203.0.113.7";
const AWAY: &str = "198.51.100.1";

/// A record of the peer `p`, signed with key number `by`. It is dated `seconds` after the service's
/// current time, and its lease token is `mine`.
fn record(service: &Service, by: u8, seconds: u64) -> String {
    let now = Timestamp::from_secs(service.clock.now().as_secs() + seconds);
    let terms = RecordTerms {
        seq: now.as_millis(),
        freshness: Freshness::IssuedAt(now.as_secs()),
        token_hash: SignedTokenHash(Sha256::digest(b"mine").into()),
        audience: None,
        replaces: None,
    };
    let registration = RegisterRequest::new(PeerId::parse("p").unwrap());
    SignedRecord::sign(&registration, &terms, &SecretKey::from_random(&[by; 32])).unwrap().as_str().to_owned()
}

fn signed(record: &str) -> Value {
    json!({ "signed": record })
}

#[tokio::test]
async fn a_signed_registration_returns_its_key_and_its_record_is_listed_in_the_full_view() {
    let service = Service::behind_a_proxy().await;
    let record = record(&service, 1, 0);
    let body = json!({"signed": record, "discover": {"limit": 5}});
    let registered = service.client_at(HOME).post("/register", &body).await.ok();
    let key = SecretKey::from_random(&[1; 32]).public().to_string();
    assert_eq!(registered["signed_by"], key);
    assert_eq!(registered.get("lease_token"), None);
    assert_eq!(registered["count"], 1);
    assert_eq!(service.get("/discover?view=full").await.ok()["peers"][0]["signed"], record);
    assert_eq!(service.get("/discover").await.ok()["peers"][0].get("signed"), None);
    let heartbeat = |token: &str| json!({"peer_id": "p", "lease_token": token});
    service.client_at(AWAY).post("/heartbeat", &heartbeat("mine")).await.ok();
    service.client_at(HOME).post("/heartbeat", &heartbeat("other")).await.refused(403, "not_holder", None);
    service.client_at(HOME).heartbeat("p").await.refused(403, "not_holder", None);
}

#[tokio::test]
async fn a_locked_name_is_refused_to_other_keys_and_to_unsigned_registrations() {
    let service = Service::behind_a_proxy().await;
    service.client_at(HOME).post("/register", &signed(&record(&service, 1, 0))).await.ok();
    let thief = json!({"peer_id": "p", "lease_token": "mine"});
    for address in [HOME, AWAY] {
        service.client_at(address).post("/register", &thief).await.refused(403, "name_locked", None);
        let other = signed(&record(&service, 2, 1));
        service.client_at(address).post("/register", &other).await.refused(403, "name_locked", None);
    }
}

#[tokio::test]
async fn a_stale_record_and_a_stale_signature_say_what_to_sign() {
    let service = Service::behind_a_proxy().await;
    let first = record(&service, 1, 0);
    service.client_at(HOME).post("/register", &signed(&first)).await.ok();
    let seq = service.clock.now().as_millis();
    let again = service.client_at(AWAY).post("/register", &signed(&first)).await;
    again.refused(409, "stale_record", None);
    assert_eq!(again.json()["seq"], seq);
    let early = signed(&record(&service, 1, 301));
    let stale = service.client_at(HOME).post("/register", &early).await;
    stale.refused(401, "stale_signature", None);
    assert_eq!(stale.json()["timestamp"], service.clock.now().to_string());
    assert!(stale.json()["nonce"].is_string());
}

#[tokio::test]
async fn an_invalid_record_is_refused_with_the_field_at_fault() {
    let service = Service::behind_a_proxy().await;
    let record = record(&service, 1, 0);
    let (parts, _) = record.rsplit_once('.').unwrap();
    let forged = format!("{parts}.{}", "A".repeat(86));
    let host = service.client_at(HOME);
    host.post("/register", &signed(&forged)).await.refused(401, "invalid_signature", Some("signed"));
    host.post("/register", &signed("a.b")).await.refused(400, "invalid_field", Some("signed"));
    let both = json!({"signed": record, "peer_id": "p"});
    host.post("/register", &both).await.refused(400, "invalid_field", Some("peer_id"));
    assert_eq!(service.live().await, [""; 0]);
}
