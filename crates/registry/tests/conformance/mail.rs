//! The rules of the registry about mail: who sends, and who receives.

use std::net::IpAddr;
use std::sync::Arc;

use aurora_discovery_protocol::{
    Code, Freshness, LeaseToken, MailRequest, MessageTerms, PeerId, RecordTerms, Refusal, RegisterRequest,
    SecretKey, SignedMessage, SignedRecord, SignedRegisterRequest, SignedTokenHash, Subject, Timestamp,
};
use aurora_discovery_registry::conformance::Subject as _;
use aurora_discovery_registry::{Caller, Error, Letter, Limits, Registry, SignaturePolicy, Store, WebOrigin};
use sha2::{Digest as _, Sha256};

use crate::Reference;

const NOW: u64 = 1_800_000_000;
const SID: &str = "0123456789abcdef";
const LEASE: u64 = 300;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(NOW + seconds)
}

fn id(name: &str) -> PeerId {
    PeerId::parse(name).unwrap()
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_random(&[number; 32])
}

fn token(text: &str) -> LeaseToken {
    LeaseToken::parse(text).unwrap()
}

fn home() -> Caller {
    Caller { address: "203.0.113.7".parse::<IpAddr>().unwrap(), page: WebOrigin::None }
}

fn message(from: &str, to: &str, sid: &str, by: u8, now: Timestamp) -> SignedMessage {
    let terms = MessageTerms { sid, issued_at: now.as_secs(), kind: "offer", sdp: "v=0" };
    SignedMessage::sign(&id(from), &id(to), &terms, &key(by)).unwrap()
}

struct World(Registry);

impl World {
    /// A registry in which two peers with mailboxes registered at time 0: `a`, signed by key 1, and
    /// `b`, signed by key 2.
    async fn with(limits: Limits) -> Self {
        let store: Arc<dyn Store> = Reference::correct().open(&limits, at(0)).await;
        let world = Self(Registry::new(store, limits).unwrap());
        world.register("a", 1, true, at(0)).await;
        world.register("b", 2, true, at(0)).await;
        world
    }

    async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    /// Registers a peer whose token is its name.
    async fn register(&self, name: &str, by: u8, mail: bool, now: Timestamp) {
        let terms = RecordTerms {
            seq: now.as_millis(),
            freshness: Freshness::IssuedAt(now.as_secs()),
            token_hash: SignedTokenHash(Sha256::digest(name.as_bytes()).into()),
            audience: None,
            replaces: None,
        };
        let registration = RegisterRequest { mail, ..RegisterRequest::new(id(name)) };
        let signed = SignedRecord::sign(&registration, &terms, &key(by)).unwrap();
        let request = SignedRegisterRequest { signed, lease_token: None, discover: None };
        self.0.register_signed(request, &home(), now).await.unwrap();
    }

    async fn send(&self, message: SignedMessage, token_of: &str, now: Timestamp) -> Result<(), Error> {
        let request = MailRequest { to: message.to().clone(), lease_token: token(token_of), message };
        let accepted = self.0.accept_mail(request, &home(), now).await?;
        self.0.deliver_mail(accepted, now).await
    }

    async fn collect(&self, name: &str, token_of: &str, now: Timestamp) -> Result<Vec<Letter>, Error> {
        self.0.collect_mail(&id(name), &token(token_of), &[], &home(), now).await
    }
}

#[tokio::test]
async fn a_message_reaches_its_receiver_as_it_was_signed() {
    let world = World::new().await;
    let sent = message("a", "b", SID, 1, at(1));
    world.send(sent.clone(), "a", at(1)).await.unwrap();
    let letters = world.collect("b", "b", at(5)).await.unwrap();
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((&*letter.message, letter.from.as_str(), letter.sent_at), (sent.as_str(), "a", at(1)));
    let read = SignedMessage::parse(&letter.message).unwrap();
    assert_eq!(read.verify(), Ok(key(1).public()));
    assert_eq!(world.collect("a", "a", at(5)).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_sender_proves_itself_by_its_token_and_its_key() {
    let world = World::new().await;
    let sent = || message("a", "b", SID, 1, at(1));
    assert!(matches!(world.send(sent(), "b", at(1)).await, Err(Error::NotHolder(_))));
    let forged = world.send(message("a", "b", SID, 2, at(1)), "a", at(1)).await;
    assert!(
        matches!(&forged, Err(Error::InvalidRecord(Refusal { code: Code::InvalidSignature, .. }))),
        "{forged:?}"
    );
    let stranger = world.send(message("c", "b", SID, 1, at(1)), "a", at(1)).await;
    assert_eq!(stranger, Err(Error::NotRegistered));
    assert_eq!(world.collect("b", "b", at(1)).await, Ok(Vec::new()));
    assert_eq!(world.send(sent(), "a", at(LEASE)).await, Err(Error::NotRegistered), "a dormant sender");
}

#[tokio::test]
async fn a_receiver_must_be_live_and_ask_for_mail() {
    let world = World::new().await;
    world.register("quiet", 3, false, at(0)).await;
    let unsigned = RegisterRequest { mail: true, ..RegisterRequest::new(id("unsigned")) };
    world.0.register(unsigned, &home(), at(0)).await.unwrap();
    for (to, expected) in [
        ("absent", Error::ReceiverNotLive),
        ("quiet", Error::NoMailbox { is_receiver: true }),
        ("unsigned", Error::NoMailbox { is_receiver: true }),
    ] {
        assert_eq!(world.send(message("a", to, SID, 1, at(1)), "a", at(1)).await, Err(expected), "{to}");
    }
    let quiet = world.send(message("quiet", "b", SID, 3, at(1)), "quiet", at(1)).await;
    assert_eq!(quiet, Err(Error::NoMailbox { is_receiver: false }));
    assert_eq!(world.collect("quiet", "quiet", at(1)).await, Err(Error::NoMailbox { is_receiver: false }));
    world.register("quiet", 3, true, at(2)).await;
    world.send(message("a", "quiet", SID, 1, at(2)), "a", at(2)).await.unwrap();
    world.register("a", 1, true, at(200)).await;
    let dormant = world.send(message("a", "b", SID, 1, at(LEASE)), "a", at(LEASE)).await;
    assert_eq!(dormant, Err(Error::ReceiverNotLive));
}

#[tokio::test]
async fn only_the_token_opens_a_mailbox_even_without_the_holder_rule() {
    let world = World::with(Limits { holder_rule: false, ..Limits::default() }).await;
    assert!(matches!(world.collect("b", "a", at(1)).await, Err(Error::NotHolder(_))));
    assert_eq!(world.collect("absent", "b", at(1)).await, Err(Error::NotRegistered));
    let forged = world.send(message("a", "b", SID, 1, at(1)), "b", at(1)).await;
    assert!(matches!(forged, Err(Error::NotHolder(_))));
    assert_eq!(world.collect("b", "b", at(LEASE)).await, Err(Error::NotRegistered), "a dormant peer");
}

#[tokio::test]
async fn a_message_is_signed_within_300_s_and_sent_once() {
    let world = World::new().await;
    let timestamp = at(10);
    for old in [at(311), Timestamp::from_secs(NOW - 291)] {
        let stale = world.send(message("a", "b", SID, 1, old), "a", timestamp).await;
        assert_eq!(stale, Err(Error::StaleMessage { timestamp }));
    }
    for (now, sid) in [(at(310), "fedcba9876543210"), (Timestamp::from_secs(NOW - 290), SID)] {
        world.send(message("a", "b", sid, 1, now), "a", timestamp).await.unwrap();
    }
    let again = world.send(message("a", "b", SID, 1, at(10)), "a", at(10)).await;
    assert_eq!(again, Err(Error::RepeatedMessage));
    let third = world.send(message("a", "b", "a-third-session-", 1, at(10)), "a", at(10)).await;
    assert_eq!(third, Err(Error::MailboxFull));
}

#[tokio::test]
async fn a_blocked_peer_neither_sends_nor_receives() {
    let world = World::new().await;
    let request = aurora_discovery_protocol::BlockRequest {
        subject: Subject::Peer(id("a")),
        reason: aurora_discovery_protocol::BlockReason::parse("a test").unwrap(),
        duration: aurora_discovery_protocol::Ttl::from_secs(60),
    };
    world.0.block(request, "operator", at(1)).await.unwrap();
    assert!(matches!(
        world.send(message("a", "b", SID, 1, at(2)), "a", at(2)).await,
        Err(Error::Blocked { .. })
    ));
    let to_blocked = world.send(message("b", "a", SID, 2, at(2)), "b", at(2)).await;
    assert_eq!(to_blocked, Err(Error::ReceiverNotLive), "a block evicts");
}

#[tokio::test]
async fn no_peer_has_a_mailbox_where_signatures_are_ignored() {
    let limits = Limits { signatures: SignaturePolicy::Open, ..Limits::default() };
    let world = World::with(limits).await;
    assert_eq!(world.collect("b", "b", at(1)).await, Err(Error::NoMailbox { is_receiver: false }));
}
