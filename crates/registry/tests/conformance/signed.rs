//! Tests of signed registrations: the checks that the registry makes before it calls the store, and
//! test vectors that other libraries made.

use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_protocol::{
    Code, Freshness, LeaseToken, PeerId, PublicKey, RecordTerms, RegisterRequest, SecretKey, SignedRecord,
    SignedRegisterRequest, SignedTokenHash, Timestamp,
};
use aurora_discovery_registry::conformance::Subject as _;
use aurora_discovery_registry::{
    Caller, Error, Limits, Registered, Registry, SignaturePolicy, Standing, Store, TokenHash, WebOrigin,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::Reference;

const HOME: &str = "203.0.113.7";
const AWAY: &str = "198.51.100.1";
const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(NOW + seconds)
}

fn from(address: &str) -> Caller {
    Caller { address: address.parse::<IpAddr>().unwrap(), page: WebOrigin::None }
}

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_random(&[number; 32])
}

pub(crate) fn token(text: &str) -> LeaseToken {
    LeaseToken::parse(text).unwrap()
}

fn peer(name: &str) -> RegisterRequest {
    RegisterRequest::new(PeerId::parse(name).unwrap())
}

/// The terms of a record that is made at a time. Its token is `mine`.
pub(crate) fn terms(now: Timestamp) -> RecordTerms<'static> {
    RecordTerms {
        seq: now.as_millis(),
        freshness: Freshness::IssuedAt(now.as_secs()),
        token_hash: SignedTokenHash(Sha256::digest(b"mine").into()),
        audience: None,
        replaces: None,
    }
}

pub(crate) fn signed(name: &str, by: u8, terms: &RecordTerms<'_>) -> SignedRegisterRequest {
    let signed = SignedRecord::sign(&peer(name), terms, &key(by)).unwrap();
    SignedRegisterRequest { signed, lease_token: None, discover: None }
}

struct World {
    registry: Registry,
    store: Reference,
}

impl World {
    async fn with(limits: Limits) -> Self {
        let store = Reference::correct();
        let opened: Arc<dyn Store> = store.open(&limits, at(0)).await;
        Self { registry: Registry::new(opened, limits).unwrap(), store }
    }

    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    async fn sign(
        &self,
        request: SignedRegisterRequest,
        address: &str,
        now: Timestamp,
    ) -> Result<Registered, Error> {
        self.registry.register_signed(request, &from(address), now).await
    }

    async fn unsigned(
        &self,
        request: RegisterRequest,
        address: &str,
        now: Timestamp,
    ) -> Result<Registered, Error> {
        self.registry.register(request, &from(address), now).await
    }

    fn standing(&self, name: &str) -> Option<Standing> {
        self.store.standing_of(&PeerId::parse(name).unwrap())
    }
}

fn is_locked(result: &Result<Registered, Error>) -> bool {
    matches!(result, Err(Error::NameLocked(locked)) if *locked == key(1).public())
}

fn code(result: &Result<Registered, Error>) -> Option<Code> {
    match result {
        Ok(_) => None,
        Err(Error::InvalidRecord(refusal)) => Some(refusal.code),
        Err(Error::StaleSignature { .. }) => Some(Code::StaleSignature),
        Err(Error::OtherAudience) => Some(Code::InvalidSignature),
        Err(other) => panic!("{other:?}"),
    }
}

#[derive(Deserialize)]
struct Vectors {
    time_seconds: u64,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    made_by: String,
    jws: String,
    expected: String,
}

#[tokio::test]
async fn records_of_other_libraries_get_the_expected_response() {
    let text = include_str!("../../../protocol/tests/vectors/signed.json");
    let Vectors { time_seconds, vectors } = serde_json::from_str(text).unwrap();
    let now = Timestamp::from_secs(time_seconds);
    for Vector { name, made_by, jws, expected } in &vectors {
        let world = World::new().await;
        let outcome = match SignedRecord::parse(jws) {
            Err(refusal) => Some(refusal.code),
            Ok(signed) => {
                let request = SignedRegisterRequest { signed, lease_token: None, discover: None };
                code(&world.sign(request, HOME, now).await)
            }
        };
        let outcome = outcome.map_or("accepted", Code::as_str);
        assert_eq!(outcome, expected, "{name}, made by {made_by}");
        assert_eq!(world.standing("alice").is_some(), expected == "accepted", "{name}: nothing is stored");
    }
    assert!(vectors.len() > 30, "{}", vectors.len());
}

#[tokio::test]
async fn a_signed_registration_is_held_by_the_token_that_the_client_chose() {
    let world = World::new().await;
    let registered = world.sign(signed("p", 1, &terms(at(0))), HOME, at(0)).await.unwrap();
    assert_eq!((registered.lease_token, registered.signed_by), (None, Some(key(1).public())));
    let p = PeerId::parse("p").unwrap();
    for (presented, accepted) in [(None, false), (Some(token("other")), false), (Some(token("mine")), true)] {
        let lease = world.registry.heartbeat(&p, presented.as_ref(), &from(AWAY), at(1)).await;
        assert_eq!(lease.is_ok(), accepted, "{presented:?}: {lease:?}");
    }
    assert_eq!(world.standing("p").unwrap().holder.token, TokenHash::of(&token("mine")));
}

#[tokio::test]
async fn a_record_that_was_accepted_is_not_accepted_again() {
    let world = World::new().await;
    let record = signed("p", 1, &terms(at(0)));
    world.sign(record.clone(), HOME, at(0)).await.unwrap();
    let seq = at(0).as_millis();
    let stale = Err(Error::StaleRecord { seq });
    assert_eq!(world.sign(record.clone(), AWAY, at(1)).await, stale, "live");
    let lower = signed("p", 1, &RecordTerms { seq: seq - 1, ..terms(at(1)) });
    assert_eq!(world.sign(lower, HOME, at(1)).await, stale, "a lower number");
    let p = PeerId::parse("p").unwrap();
    world.registry.deregister(&p, Some(&token("mine")), &from(HOME), at(2)).await.unwrap();
    assert_eq!(world.sign(record.clone(), AWAY, at(300)).await, stale, "deregistered");
    assert_eq!(code(&world.sign(record, AWAY, at(700)).await), Some(Code::StaleSignature), "forgotten");
    world.sign(signed("p", 1, &terms(at(700))), HOME, at(700)).await.unwrap();
}

#[tokio::test]
async fn a_locked_name_cannot_be_taken_by_anyone_else() {
    let world = World::new().await;
    world.sign(signed("p", 1, &terms(at(0))), HOME, at(0)).await.unwrap();
    // At the first time, the peer is live. At the others it is dormant: its lease ends after 300 s,
    // and its lock 300 s later.
    for now in [at(1), at(400), at(599)] {
        for address in [HOME, AWAY] {
            let thief = RegisterRequest { lease_token: Some(token("mine")), ..peer("p") };
            assert!(is_locked(&world.unsigned(peer("p"), address, now).await), "a downgrade");
            assert!(is_locked(&world.unsigned(thief, address, now).await), "a thief of the token");
            let mut other = signed("p", 2, &terms(now));
            other.lease_token = Some(token("mine"));
            assert!(is_locked(&world.sign(other, address, now).await), "another key");
        }
    }
    world.unsigned(peer("p"), AWAY, at(600)).await.unwrap();
}

#[tokio::test]
async fn the_first_signature_of_a_live_name_needs_its_token() {
    let world = World::new().await;
    let lease_token = world.unsigned(peer("p"), HOME, at(0)).await.unwrap().lease_token;
    for address in [HOME, AWAY] {
        let refused = world.sign(signed("p", 1, &terms(at(1))), address, at(1)).await;
        assert!(matches!(refused, Err(Error::NotHolder(_))), "{refused:?}");
    }
    let mut proven = signed("p", 1, &terms(at(1)));
    proven.lease_token = lease_token;
    world.sign(proven, AWAY, at(1)).await.unwrap();
}

#[tokio::test]
async fn a_client_with_a_wrong_clock_signs_a_nonce_instead() {
    let world = World::new().await;
    let wrong = terms(at(100_000));
    let refused = world.sign(signed("p", 1, &wrong), HOME, at(0)).await;
    let Err(Error::StaleSignature { timestamp, nonce }) = refused else { panic!("{refused:?}") };
    assert_eq!(timestamp, at(0));
    let with_nonce = |name: &str, by, seconds| {
        let terms = RecordTerms { freshness: Freshness::Nonce(nonce.clone()), ..terms(at(seconds)) };
        signed(name, by, &terms)
    };
    for (name, by) in [("q", 1), ("p", 2)] {
        let other = world.sign(with_nonce(name, by, 1), HOME, at(1)).await;
        assert_eq!(code(&other), Some(Code::StaleSignature), "the nonce of another peer or key");
    }
    world.sign(with_nonce("p", 1, 1), HOME, at(1)).await.unwrap();
    world.sign(with_nonce("p", 1, 300), HOME, at(300)).await.unwrap();
    let late = world.sign(with_nonce("p", 1, 400), HOME, at(400)).await;
    assert_eq!(code(&late), Some(Code::StaleSignature), "after its life");
}

#[tokio::test]
async fn times_are_compared_with_the_clock_that_responses_show() {
    let world = World::new().await;
    world.registry.set_time_offset(3_600_000);
    assert_eq!(
        code(&world.sign(signed("p", 1, &terms(at(0))), HOME, at(0)).await),
        Some(Code::StaleSignature)
    );
    world.sign(signed("p", 1, &terms(at(3_600))), HOME, at(0)).await.unwrap();
}

#[tokio::test]
async fn the_name_of_a_key_belongs_to_the_key() {
    let world = World::new().await;
    let name = key(1).public().to_string();
    assert!(is_locked(&world.unsigned(peer(&name), HOME, at(0)).await));
    assert!(is_locked(&world.sign(signed(&name, 2, &terms(at(0))), HOME, at(0)).await));
    let old = key(1);
    let rotation = RecordTerms { replaces: Some(&old), ..terms(at(0)) };
    assert!(is_locked(&world.sign(signed(&name, 2, &rotation), HOME, at(0)).await));
    world.sign(signed(&name, 1, &terms(at(0))), HOME, at(0)).await.unwrap();
    let other_method = "did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc";
    assert!(PublicKey::parse(other_method).is_err());
    world.unsigned(peer(other_method), HOME, at(0)).await.unwrap();
}

#[tokio::test]
async fn a_rotation_needs_the_old_key() {
    let world = World::new().await;
    world.sign(signed("p", 1, &terms(at(0))), HOME, at(0)).await.unwrap();
    let third = key(3);
    let by_a_thief = RecordTerms { replaces: Some(&third), ..terms(at(1)) };
    let mut attempt = signed("p", 2, &by_a_thief);
    attempt.lease_token = Some(token("mine"));
    assert!(is_locked(&world.sign(attempt, HOME, at(1)).await));
    let old = key(1);
    let rotation = RecordTerms { replaces: Some(&old), ..terms(at(1)) };
    world.sign(signed("p", 2, &rotation), HOME, at(1)).await.unwrap();
    let back = world.sign(signed("p", 1, &terms(at(2))), HOME, at(2)).await;
    assert_eq!(back, Err(Error::NameLocked(key(2).public())));
}

#[tokio::test]
async fn a_record_for_one_service_is_refused_by_others() {
    let here = World::with(Limits { audience: Some("here".to_owned()), ..Limits::default() }).await;
    let nameless = World::new().await;
    let mut seconds = 0;
    for (world, audience, accepted) in [
        (&here, None, true),
        (&here, Some("here"), true),
        (&here, Some("elsewhere"), false),
        (&nameless, Some("here"), false),
    ] {
        seconds += 1;
        let record = signed("p", 1, &RecordTerms { audience, ..terms(at(seconds)) });
        let registered = world.sign(record, HOME, at(seconds)).await;
        assert_eq!(registered.is_ok(), accepted, "{audience:?}: {registered:?}");
    }
}

#[tokio::test]
async fn an_operator_can_require_or_ignore_signatures() {
    let only = World::with(Limits { signatures: SignaturePolicy::SignedOnly, ..Limits::default() }).await;
    assert_eq!(only.unsigned(peer("p"), HOME, at(0)).await, Err(Error::SignatureRequired));
    only.sign(signed("p", 1, &terms(at(0))), HOME, at(0)).await.unwrap();

    let open = World::with(Limits { signatures: SignaturePolicy::Open, ..Limits::default() }).await;
    let name = key(1).public().to_string();
    open.unsigned(peer(&name), HOME, at(0)).await.unwrap();
    let registered = open.sign(signed("p", 1, &terms(at(0))), HOME, at(0)).await.unwrap();
    assert_eq!((registered.signed_by, registered.lease_token), (None, None));
    let standing = open.standing("p").unwrap();
    assert_eq!((standing.lock, standing.holder.token), (None, TokenHash::of(&token("mine"))));
    open.unsigned(peer("p"), HOME, at(1)).await.unwrap();
}
