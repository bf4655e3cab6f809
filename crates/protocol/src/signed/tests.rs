use super::*;
use crate::{Code, DiscoverBounds, Metadata, SecretKey};

const BOUNDS: DiscoverBounds = DiscoverBounds::new(20, 100);
const TTL: RangeInclusive<Ttl> = Ttl::from_secs(30)..=Ttl::from_secs(600);

fn key(number: u8) -> SecretKey {
    SecretKey::from_random(&[number; 32])
}

fn terms(seq: u64) -> RecordTerms<'static> {
    RecordTerms {
        seq,
        freshness: Freshness::IssuedAt(1_800_000_000),
        token_hash: SignedTokenHash([7; 32]),
        audience: None,
        replaces: None,
    }
}

fn registration() -> RegisterRequest {
    let metadata = Metadata::parse(r#"{ "n": 123456789012345678901234567890 }"#).unwrap();
    RegisterRequest { port: 9000, metadata, ..RegisterRequest::new(PeerId::parse("p").unwrap()) }
}

/// A JWS with any header and payload, signed by key 1.
fn jws(header: &str, payload: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key(1).sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn header() -> String {
    format!(r#"{{"alg":"Ed25519","typ":"aurora-peer+jws","kid":"{}"}}"#, key(1).public())
}

fn hash() -> String {
    URL_SAFE_NO_PAD.encode([7; 32])
}

#[test]
fn a_signed_registration_round_trips() {
    let old = key(2);
    let terms = RecordTerms { audience: Some("here"), replaces: Some(&old), ..terms(5) };
    let record = SignedRecord::sign(&registration(), &terms, &key(1)).unwrap();
    let read = SignedRecord::parse(record.as_str()).unwrap();
    assert_eq!(read, record);
    assert_eq!(read.verify().unwrap(), key(1).public());
    assert_eq!((read.seq(), read.audience(), read.peer_id().as_str()), (5, Some("here"), "p"));
    assert_eq!(read.freshness(), &Freshness::IssuedAt(1_800_000_000));
    let content = read.content(TTL).unwrap();
    assert_eq!(content.registration, registration());
    assert_eq!(content.token_hash, SignedTokenHash([7; 32]));
    assert_eq!(content.replaces, Some(old.public()));
}

#[test]
fn a_signed_registration_may_ask_for_a_mailbox() {
    for mail in [true, false] {
        let record =
            SignedRecord::sign(&RegisterRequest { mail, ..registration() }, &terms(5), &key(1)).unwrap();
        assert_eq!(SignedRecord::has_mailbox(record.as_str()), mail);
        assert_eq!(record.content(TTL).unwrap().registration.mail, mail);
    }
    for no_record in ["", "a.b.c", "a.e30.c", "a.eyJtYWlsIjo3fQ.c"] {
        assert!(!SignedRecord::has_mailbox(no_record), "{no_record}");
    }
    let payload = format!(r#"{{"peer_id":"p","seq":1,"iat":1,"token_hash":"{}","mail":1}}"#, hash());
    let refusal = SignedRecord::parse(&jws(&header(), &payload)).unwrap().content(TTL).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("signed.mail"));
}

#[test]
fn secrets_are_left_out_of_what_is_signed() {
    let lease_token = Some(crate::LeaseToken::parse("secret").unwrap());
    let secret = RegisterRequest { lease_token, token_only: true, ..registration() };
    let record = SignedRecord::sign(&secret, &terms(5), &key(1)).unwrap();
    assert_eq!(record.content(TTL).unwrap().registration, registration());
    let payload =
        format!(r#"{{"peer_id":"p","seq":1,"iat":1,"token_hash":"{}","lease_token":"secret"}}"#, hash());
    let refusal = SignedRecord::parse(&jws(&header(), &payload)).unwrap().content(TTL).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("signed.lease_token"));
}

#[test]
fn a_changed_record_does_not_verify() {
    let record = SignedRecord::sign(&registration(), &terms(5), &key(1)).unwrap();
    let other = SignedRecord::sign(&registration(), &terms(6), &key(1)).unwrap();
    let (signed, _) = record.as_str().rsplit_once('.').unwrap();
    let (_, signature) = other.as_str().rsplit_once('.').unwrap();
    let mixed = SignedRecord::parse(&format!("{signed}.{signature}")).unwrap();
    assert_eq!(mixed.verify().unwrap_err().code, Code::InvalidSignature);
    let stolen = header().replace(&key(1).public().to_string(), &key(2).public().to_string());
    let payload = format!(r#"{{"peer_id":"p","seq":1,"iat":1,"token_hash":"{}"}}"#, hash());
    let by_another = SignedRecord::parse(&jws(&stolen, &payload)).unwrap();
    assert_eq!(by_another.verify().unwrap_err().code, Code::InvalidSignature);
}

#[test]
fn only_the_header_of_the_contract_is_accepted() {
    let payload = format!(r#"{{"peer_id":"p","seq":1,"iat":1,"token_hash":"{}"}}"#, hash());
    let accepts = |header: &str| SignedRecord::parse(&jws(header, &payload)).map(drop);
    assert_eq!(accepts(&header()), Ok(()));
    assert_eq!(accepts(&header().replace("Ed25519", "EdDSA")), Ok(()), "as older libraries write it");
    assert_eq!(accepts(&header().replace('}', r#","jku":"https://x.example"}"#)), Ok(()));
    for (before, after) in [
        ("\"Ed25519\"", "\"none\""),
        ("\"Ed25519\"", "\"ES256\""),
        ("\"Ed25519\"", "\"ed25519\""),
        ("\"alg\":\"Ed25519\",", ""),
        ("aurora-peer+jws", "JWT"),
        ("aurora-peer+jws", "aurora-rotation+jws"),
        ("did:key:", "did:web:"),
        ("}", ",\"crit\":[\"exp\"]}"),
        ("}", ",\"crit\":[]}"),
    ] {
        let refusal = accepts(&header().replace(before, after)).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidSignature, "{before} {after}");
    }
    let repeated = accepts(&header().replace('}', ",\"alg\":\"Ed25519\"}")).unwrap_err();
    assert_eq!(repeated.code, Code::InvalidField);
    assert!(repeated.message.contains("must not repeat the key \"alg\""), "{repeated}");
}

#[test]
fn a_text_that_is_no_compact_jws_is_refused() {
    let payload = format!(r#"{{"peer_id":"p","seq":1,"iat":1,"token_hash":"{}"}}"#, hash());
    let good = jws(&header(), &payload);
    for bad in [
        String::new(),
        "a.b".to_owned(),
        format!("{good}."),
        format!("{good}="),
        good.replace('.', ".."),
        format!("{good}A"),
        jws("[]", &payload),
        jws(&header(), "7"),
        jws(&header(), "{"),
    ] {
        assert!(SignedRecord::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn each_key_of_the_payload_has_its_rule() {
    let good = format!(r#"{{"peer_id":"p","seq":1,"iat":1,"token_hash":"{}"}}"#, hash());
    let read = |payload: &str| SignedRecord::parse(&jws(&header(), payload))?.content(TTL).map(drop);
    assert_eq!(read(&good), Ok(()));
    for (before, after, field) in [
        ("\"peer_id\":\"p\",", "", "signed.peer_id"),
        ("\"seq\":1,", "", "signed.seq"),
        ("\"seq\":1", "\"seq\":-1", "signed.seq"),
        ("\"seq\":1", "\"seq\":1.5", "signed.seq"),
        ("\"seq\":1", "\"seq\":9007199254740992", "signed.seq"),
        ("\"seq\":1", "\"seq\":\"1\"", "signed.seq"),
        ("\"iat\":1,", "", "signed.iat"),
        ("\"iat\":1", "\"iat\":1,\"nonce\":\"n\"", "signed.nonce"),
        ("\"token_hash\"", "\"token\"", "signed.token_hash"),
        ("\"token_hash\":\"B", "\"token_hash\":\"", "signed.token_hash"),
        ("}", ",\"aud\":7}", "signed.aud"),
        ("}", ",\"port\":70000}", "signed.port"),
        ("}", ",\"ttl_seconds\":7}", "signed.ttl_seconds"),
        ("}", ",\"seq\":2}", "signed"),
        ("}", ",\"metadata\":{\"a\":1,\"a\":1}}", "signed.metadata"),
        ("}", ",\"x\":1e999}", "signed"),
        ("}", ",\"replaces\":\"x\"}", "signed.replaces"),
    ] {
        let refusal = read(&good.replacen(before, after, 1)).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some(field), "{after}: {refusal}");
    }
    assert_eq!(read(&good.replace("\"seq\":1", "\"seq\":9007199254740991")), Ok(()));
    assert_eq!(read(&good.replace("\"iat\":1", "\"nonce\":\"n\"")), Ok(()));
}

#[test]
fn a_rotation_is_for_one_record_only() {
    let (old, peer) = (key(2), PeerId::parse("p").unwrap());
    let with = |replaces: &str| {
        let payload =
            format!(r#"{{"peer_id":"p","seq":5,"iat":1,"token_hash":"{}","replaces":"{replaces}"}}"#, hash());
        SignedRecord::parse(&jws(&header(), &payload)).unwrap().content(TTL).map(|content| content.replaces)
    };
    let new = key(1).public();
    assert_eq!(with(&rotation::sign(&peer, 5, &old, new)).unwrap(), Some(old.public()));
    let other = PeerId::parse("q").unwrap();
    for wrong in [
        rotation::sign(&other, 5, &old, new),
        rotation::sign(&peer, 6, &old, new),
        rotation::sign(&peer, 5, &old, key(3).public()),
        SignedRecord::sign(&registration(), &terms(5), &old).unwrap().as_str().to_owned(),
    ] {
        let refusal = with(&wrong).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidSignature, Some("signed.replaces"))
        );
    }
}

#[test]
fn a_body_is_signed_or_not() {
    let record = SignedRecord::sign(&registration(), &terms(5), &key(1)).unwrap();
    let read = |body: &str| RegisterBody::from_body(body.as_bytes(), TTL, BOUNDS);
    let request = SignedRegisterRequest { signed: record, lease_token: None, discover: None };
    let body = serde_json::to_string(&request).unwrap();
    assert_eq!(read(&body).unwrap(), RegisterBody::Signed(request));
    let with_page = body.replace('}', r#","lease_token":"t","discover":{"limit":3},"unknown":1}"#);
    let RegisterBody::Signed(signed) = read(&with_page).unwrap() else { panic!("signed") };
    assert_eq!((signed.lease_token.is_some(), signed.discover.unwrap().limit), (true, 3));
    assert!(matches!(read(r#"{"peer_id":"p","signed":null}"#).unwrap(), RegisterBody::Unsigned(_)));
    let both = read(&body.replace('}', r#","peer_id":"p"}"#)).unwrap_err();
    assert_eq!(both.field.as_deref(), Some("peer_id"));
    assert_eq!(read(&body.replace('}', r#","mail":true}"#)).unwrap_err().field.as_deref(), Some("mail"));
    let number = read(r#"{"signed":7}"#).unwrap_err();
    assert_eq!(number.field.as_deref(), Some("signed"));
}

/// Signatures of Ed25519 are deterministic. `scripts/make-vectors --check` has other libraries verify
/// these records.
#[test]
fn the_records_that_other_libraries_verify_are_those_that_are_signed_here() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/signed.json")).unwrap();
    let alice = || RegisterRequest::new(PeerId::parse("alice").unwrap());
    let first = RegisterRequest {
        port: 9000,
        archetypes: crate::Archetypes::parse(&["日本語"]).unwrap(),
        metadata: Metadata::parse(r#"{ "version": 1.0 }"#).unwrap(),
        ..alice()
    };
    let with_nonce = RecordTerms {
        freshness: Freshness::Nonce("a-nonce".to_owned()),
        audience: Some("discovery.example"),
        ..terms(1_800_000_000_001)
    };
    let signed = [
        SignedRecord::sign(&first, &terms(1_800_000_000_000), &key(1)).unwrap(),
        SignedRecord::sign(&alice(), &with_nonce, &key(1)).unwrap(),
    ];
    let ours: Vec<_> = signed.iter().map(SignedRecord::as_str).collect();
    assert_eq!(serde_json::json!(ours), vectors["ours"]);
}
